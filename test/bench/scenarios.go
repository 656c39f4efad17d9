package main

import (
	"fmt"
	"net/url"
)

const ec2Version = "2016-11-15"

// identity is the smallest call: what the front door costs.
func (b *bench) identity() error {
	return b.with(0, func(s *server) error {
		r, err := s.signed(0, "sts", url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}})
		if err != nil {
			return err
		}
		return b.measure(s, load{
			name: "GetCallerIdentity, 16 clients", clients: 16, want: "<Arn>",
			next: func(int, int) []byte { return r },
		})
	})
}

// launches are accepted and durable when they are answered; meanwhile simulated nodes start the machines.
func (b *bench) launches() error {
	return b.with(b.nodes, func(s *server) error {
		const clients = 64
		var requests [clients][]byte
		for i := range requests {
			var err error
			requests[i], err = s.signed(i, "ec2", url.Values{
				"Action": {"RunInstances"}, "Version": {ec2Version}, "ImageId": {s.hello.Image}, "InstanceType": {"t3.nano"}, "MinCount": {"1"}, "MaxCount": {"1"},
			})
			if err != nil {
				return err
			}
		}
		err := b.measure(s, load{
			name: fmt.Sprintf("RunInstances, %d clients, %d nodes", clients, b.nodes), clients: clients, want: "<instanceId>",
			next: func(client, _ int) []byte { return requests[client] },
		})
		if err != nil {
			return err
		}
		u, err := s.do("settled")
		if err != nil {
			return err
		}
		fmt.Printf("\n%d machines run on %d nodes.\n\n", u.Running, b.nodes)
		return nil
	})
}

// sizes are the clouds that are measured.
func (b *bench) sizes() (out []int) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		if n <= b.most {
			out = append(out, n)
		}
	}
	return out
}

// describe reads one instance, and a thousand, in clouds of growing size.
func (b *bench) describe() error {
	return b.with(0, func(s *server) error {
		for _, n := range b.sizes() {
			u, err := s.do("populate", n)
			if err != nil {
				return err
			}
			if err := b.describeAmong(s, n, u.IDs); err != nil {
				return err
			}
		}
		return nil
	})
}

// memory is what clouds of growing size take. No calls come in between: of those the last 20,000 are kept in
// memory for LookupEvents, however many instances there are.
func (b *bench) memory() error {
	return b.with(0, func(s *server) error {
		empty, err := s.do("collect")
		if err != nil {
			return err
		}
		fmt.Printf("\n| instances | heap each | resident each | resident in all (%d MB when empty) |\n| ---: | ---: | ---: | ---: |\n", empty.RSS/1_000_000)
		for _, n := range b.sizes() {
			if _, err := s.do("populate", n); err != nil {
				return err
			}
			u, err := s.do("collect")
			if err != nil {
				return err
			}
			fmt.Printf("| %d | %.1f kB | %.1f kB | %d MB |\n", n,
				(float64(u.Heap)-float64(empty.Heap))/float64(n)/1000, (float64(u.RSS)-float64(empty.RSS))/float64(n)/1000, u.RSS/1_000_000)
		}
		return nil
	})
}

func (b *bench) describeAmong(s *server, n int, ids []string) error {
	var one [][]byte
	for _, id := range ids {
		r, err := s.signed(0, "ec2", url.Values{"Action": {"DescribeInstances"}, "Version": {ec2Version}, "InstanceId.1": {id}})
		if err != nil {
			return err
		}
		one = append(one, r)
	}
	err := b.measure(s, load{
		name: fmt.Sprintf("DescribeInstances, one of %d, 16 clients", n), clients: 16, want: "<instanceId>",
		next: func(client, i int) []byte { return one[(client*61+i)%len(one)] },
	})
	if err != nil {
		return err
	}
	all, err := s.signed(0, "ec2", url.Values{"Action": {"DescribeInstances"}, "Version": {ec2Version}})
	if err != nil {
		return err
	}
	return b.measure(s, load{
		name: fmt.Sprintf("DescribeInstances, 1000 of %d, 1 client", n), clients: 1, want: ids[999],
		next: func(int, int) []byte { return all },
	})
}
