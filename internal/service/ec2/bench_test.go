package ec2

import (
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/aws/wire"
)

// populate launches n instances, a thousand in a launch.
func populate(b *testing.B, n int) (*cloud, []string) {
	c := newCloud(b, "10.0.0.0/8")
	var ids []string
	for len(ids) < n {
		for range 10 { // spread over both zones' subnets
			ids = append(ids, c.run(min(100, n-len(ids)))...)
			if len(ids) >= n {
				break
			}
		}
	}
	return c, ids
}

func benchOne(b *testing.B, n int) {
	c, ids := populate(b, n)
	c.place(ids...)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{InstanceIds: ids[i%len(ids) : i%len(ids)+1]}); err != nil {
			b.Fatal(err)
		}
	}
}

// One instance by id costs the same however many there are.
func BenchmarkDescribeOneOf100(b *testing.B)  { benchOne(b, 100) }
func BenchmarkDescribeOneOf8000(b *testing.B) { benchOne(b, 8000) }

// A thousand in one answer, with the answer's encoding.
func BenchmarkDescribe1000(b *testing.B) {
	c, ids := populate(b, 1000)
	c.place(ids...)
	var encode func(*wire.Response, any) error
	for _, op := range shape.Service().Operations {
		if op.Name == "DescribeInstances" {
			encode = op.Encode
		}
	}
	w := &wire.Response{}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		out, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{})
		if err != nil {
			b.Fatal(err)
		}
		w.Body = w.Body[:0]
		if err := encode(w, out); err != nil {
			b.Fatal(err)
		}
	}
}

// A page of a hundred among many.
func BenchmarkDescribePage(b *testing.B) {
	c, _ := populate(b, 8000)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{MaxResults: ptr(100)}); err != nil {
			b.Fatal(err)
		}
	}
}

// A launch over the store in memory: the handler and the transaction, without etcd.
func BenchmarkRunInstances(b *testing.B) {
	c := newCloud(b, "10.0.0.0/8")
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		ids := c.run(1)
		if i%4 != 0 { // keep the subnets from running full
			if _, err := c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: ids}); err != nil {
				b.Fatal(err)
			}
		}
		if i%20000 == 19999 {
			b.StopTimer()
			c = newCloud(b, "10.0.0.0/8")
			b.StartTimer()
		}
	}
}
