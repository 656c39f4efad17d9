package daemon

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"karri.dev/internal/admin"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/store"
)

// ObjectsInfo says how an object engine is.
type ObjectsInfo struct {
	Engine string
	Places []disk.Place
	Scrub  disk.Scrubbed // with buckets by their names
}

func (p *cloudProcess) objectsInfo(ctx context.Context, _ struct{}) (out []ObjectsInfo, err error) {
	names := map[string]string{}
	for name, e := range p.engines {
		i := ObjectsInfo{Engine: name, Places: e.Places(ctx), Scrub: e.Scrubbed()}
		if len(i.Scrub.Found) > 0 && len(names) == 0 {
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
		out = append(out, i)
	}
	return out, nil
}

func (p *cloudProcess) scrubObjects(context.Context, struct{}) (struct{}, error) {
	for _, e := range p.engines {
		e.ScrubNow()
	}
	return struct{}{}, nil
}

// objectStatus says whether each engine's disks or endpoint are there.
func (p *cloudProcess) objectStatus(ctx context.Context) (out []admin.Component) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for name, e := range p.engines {
		_, _, err := e.Usage(ctx)
		out = append(out, health("objects", name, err))
	}
	return out
}

// objectMetrics shows the object engine to Prometheus.
type objectMetrics struct{ cloud *cloudProcess }

var (
	scrubFiles   = prometheus.NewDesc("karri_objects_scrubbed_files_total", "Data files that the scrubber has read.", []string{"engine"}, nil)
	scrubBytes   = prometheus.NewDesc("karri_objects_scrubbed_bytes_total", "Bytes that the scrubber has read.", []string{"engine"}, nil)
	scrubDamaged = prometheus.NewDesc("karri_objects_damaged_files_total", "Data files that the scrubber has found damaged, each time.", []string{"engine"}, nil)
	scrubRounds  = prometheus.NewDesc("karri_objects_scrub_rounds_total", "Rounds of the scrubber that came to their end.", []string{"engine"}, nil)
	diskOnline   = prometheus.NewDesc("karri_objects_disk_online", "1 if a disk for objects is there.", []string{"engine", "folder"}, nil)
	diskFree     = prometheus.NewDesc("karri_objects_disk_free_bytes", "Free bytes on a disk for objects.", []string{"engine", "folder"}, nil)
)

// Describe is for prometheus.Collector.
func (m objectMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{scrubFiles, scrubBytes, scrubDamaged, scrubRounds, diskOnline, diskFree} {
		out <- d
	}
}

// Collect is for prometheus.Collector.
func (m objectMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for name, e := range m.cloud.engines {
		s := e.Scrubbed()
		for d, v := range map[*prometheus.Desc]int64{scrubFiles: s.Files, scrubBytes: s.Bytes, scrubDamaged: s.Damaged, scrubRounds: s.Rounds} {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), name)
		}
		for _, p := range e.Places(ctx) {
			online := 0.0
			if p.Online {
				online = 1
				out <- prometheus.MustNewConstMetric(diskFree, prometheus.GaugeValue, float64(p.Free), name, p.Dir)
			}
			out <- prometheus.MustNewConstMetric(diskOnline, prometheus.GaugeValue, online, name, p.Dir)
		}
	}
}
