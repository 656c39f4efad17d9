package daemon

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"karri.dev/internal/object/disk"
	"karri.dev/internal/store"
)

// ObjectsInfo says how an object engine is.
type ObjectsInfo struct {
	Engine string
	Places []disk.Place
	Scrub  disk.Scrubbed // with buckets by their names
}

func (p *cloudProcess) objectsInfo(ctx context.Context, _ struct{}) ([]ObjectsInfo, error) {
	i := ObjectsInfo{Engine: "disk", Places: p.objects.Places(ctx), Scrub: p.objects.Scrubbed()}
	names := map[string]string{}
	if len(i.Scrub.Found) > 0 {
		for b := range store.Buckets.All(p.store.Snapshot()) {
			names[b.Engine] = b.Name
		}
	}
	for n := range i.Scrub.Found {
		d := &i.Scrub.Found[n]
		if name, ok := names[d.Bucket]; ok {
			d.Bucket = name
		}
	}
	return []ObjectsInfo{i}, nil
}

func (p *cloudProcess) scrubObjects(context.Context, struct{}) (struct{}, error) {
	p.objects.ScrubNow()
	return struct{}{}, nil
}

// objectMetrics shows the object engine to Prometheus.
type objectMetrics struct{ engine *disk.Engine }

var (
	scrubFiles   = prometheus.NewDesc("karri_objects_scrubbed_files_total", "Data files that the scrubber has read.", nil, nil)
	scrubBytes   = prometheus.NewDesc("karri_objects_scrubbed_bytes_total", "Bytes that the scrubber has read.", nil, nil)
	scrubDamaged = prometheus.NewDesc("karri_objects_damaged_files_total", "Data files that the scrubber has found damaged, each time.", nil, nil)
	scrubRounds  = prometheus.NewDesc("karri_objects_scrub_rounds_total", "Rounds of the scrubber that came to their end.", nil, nil)
	diskOnline   = prometheus.NewDesc("karri_objects_disk_online", "1 if a disk for objects is there.", []string{"folder"}, nil)
	diskFree     = prometheus.NewDesc("karri_objects_disk_free_bytes", "Free bytes on a disk for objects.", []string{"folder"}, nil)
)

// Describe is for prometheus.Collector.
func (m objectMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{scrubFiles, scrubBytes, scrubDamaged, scrubRounds, diskOnline, diskFree} {
		out <- d
	}
}

// Collect is for prometheus.Collector.
func (m objectMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.engine.Scrubbed()
	for d, v := range map[*prometheus.Desc]int64{scrubFiles: s.Files, scrubBytes: s.Bytes, scrubDamaged: s.Damaged, scrubRounds: s.Rounds} {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, p := range m.engine.Places(ctx) {
		online := 0.0
		if p.Online {
			online = 1
			out <- prometheus.MustNewConstMetric(diskFree, prometheus.GaugeValue, float64(p.Free), p.Dir)
		}
		out <- prometheus.MustNewConstMetric(diskOnline, prometheus.GaugeValue, online, p.Dir)
	}
}
