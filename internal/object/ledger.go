package object

import (
	"slices"
	"sync"
)

// Tally is what a bucket holds, counted as S3's usage is: all versions, delete markers, and parts of uploads under way.
type Tally struct {
	Objects int64
	Bytes   int64 // of bodies as clients sent them
}

// Plus gives the sum.
func (t Tally) Plus(o Tally) Tally { return Tally{t.Objects + o.Objects, t.Bytes + o.Bytes} }

// Minus gives the difference.
func (t Tally) Minus(o Tally) Tally { return Tally{t.Objects - o.Objects, t.Bytes - o.Bytes} }

// Balance is what there will be with a write.
type Balance struct {
	Added  Tally // by this write, what it replaces taken off
	Bucket Tally
	Held   func(holder string) Tally // all buckets that Ledger.Hold has given the holder
}

// Ledger knows what all buckets of all engines hold, with the changes that are being committed: engines write into it and
// keep the same numbers beside their objects. Who must be kept within limits is judged here, one write after the other.
type Ledger struct {
	mu      sync.Mutex
	buckets map[string]*entry
	holders map[string]Tally
}

type entry struct {
	tally   Tally
	holders []string
}

// NewLedger makes one that is empty.
func NewLedger() *Ledger {
	return &Ledger{buckets: map[string]*entry{}, holders: map[string]Tally{}}
}

// Hold says, once for each bucket, in whose sums it counts.
func (l *Ledger) Hold(bucket string, holders ...string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(bucket)
	if e.holders != nil {
		return
	}
	e.holders = slices.Clone(holders)
	for _, h := range holders {
		l.holders[h] = l.holders[h].Plus(e.tally)
	}
}

// Add counts a change, unless judge refuses it; nil refuses nothing.
func (l *Ledger) Add(bucket string, change Tally, judge func(Balance) error) error {
	return l.count(bucket, change, judge, true)
}

// Judge asks whether a change would be refused now.
func (l *Ledger) Judge(bucket string, change Tally, judge func(Balance) error) error {
	return l.count(bucket, change, judge, false)
}

func (l *Ledger) count(bucket string, change Tally, judge func(Balance) error, stays bool) (err error) {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(bucket)
	l.add(e, change)
	if judge != nil {
		err = judge(l.balance(e, change))
	}
	if err != nil || !stays {
		l.add(e, Tally{}.Minus(change))
	}
	return err
}

func (l *Ledger) add(e *entry, change Tally) {
	e.tally = e.tally.Plus(change)
	for _, h := range e.holders {
		l.holders[h] = l.holders[h].Plus(change)
	}
}

func (l *Ledger) balance(e *entry, change Tally) Balance {
	return Balance{Added: change, Bucket: e.tally, Held: func(holder string) Tally { return l.holders[holder] }}
}

// Of gives what a bucket holds.
func (l *Ledger) Of(bucket string) Tally {
	if l == nil {
		return Tally{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.buckets[bucket]; e != nil {
		return e.tally
	}
	return Tally{}
}

// Forget ends a bucket.
func (l *Ledger) Forget(bucket string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.buckets[bucket]; e != nil {
		l.add(e, Tally{}.Minus(e.tally))
		delete(l.buckets, bucket)
	}
}

func (l *Ledger) entry(bucket string) *entry {
	e := l.buckets[bucket]
	if e == nil {
		e = &entry{}
		l.buckets[bucket] = e
	}
	return e
}
