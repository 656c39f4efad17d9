package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
)

// engine keeps bytes durably: etcd, or memory for tests. It knows one special key, the head: every commit
// is guarded by the head's revision and writes the head.
type engine interface {
	// load gives every pair at one revision and the head as it was then (zero if never written). Following
	// goes on from the revision at.
	load(ctx context.Context, each func(pair) error) (h headValue, at int64, err error)
	// commit applies the pairs and the new head value, durably, if the head's revision is still guard, and
	// answers with the head as it is then, won or lost. An error that wraps errRefused means that nothing was
	// written and never will be; any other leaves the outcome unknown: the same commit may be sent again, since
	// the guard lets only one of them through.
	commit(ctx context.Context, guard int64, value []byte, pairs []pair) (h headValue, won bool, err error)
	// current gives the head's revision now, in the order of all commits.
	current(ctx context.Context) (revision int64, err error)
	// follow calls each for every commit after revision, in order, until ctx ends or the connection fails.
	// Its error wraps errCompacted if the past is gone and the state must be loaded anew.
	follow(ctx context.Context, revision int64, each func(commitEvent) error) error
	// lead runs fn while this process is the leader of that name; fn's context ends when it no longer is.
	lead(ctx context.Context, name string, fn func(context.Context) error) error
	close() error
}

var (
	errCompacted = errors.New("revision is compacted")
	errRefused   = errors.New("refused by the state store")
)

// pair is one record's key and value. A nil value deletes.
type pair struct {
	table, key string
	value      []byte
}

// headValue is the head key as the engine has it.
type headValue struct {
	revision int64
	value    []byte
}

// commitEvent is one commit as others see it.
type commitEvent struct {
	head  headValue
	pairs []pair
}

// head is the end of the line of commits. Its value names the last commit of every recent writer, so that
// a writer whose connection broke can tell later whether its commit happened.
type head struct {
	revision int64
	commits  []string // WRITER-NUMBER, newest first, one per writer
}

// recentWriters bounds the head value. A writer that is cut off in the middle of a commit, while so many
// others commit, cannot learn the outcome.
const recentWriters = 64

func (h headValue) parse() head {
	out := head{revision: h.revision}
	for c := range bytes.SplitSeq(h.value, []byte{'\n'}) {
		if len(c) > 0 {
			out.commits = append(out.commits, string(c))
		}
	}
	return out
}

// with gives the value of the head after the writer's commit WRITER-NUMBER.
func (h head) with(writer, commit string) []byte {
	out := append(make([]byte, 0, 32), commit...)
	n := 1
	for _, c := range h.commits {
		if n == recentWriters || strings.HasPrefix(c, writer+"-") {
			continue
		}
		out = append(append(out, '\n'), c...)
		n++
	}
	return out
}

// has says that the commit happened; last, that none came after it.
func (h head) has(commit string) bool { return slices.Contains(h.commits, commit) }

func (h head) last(commit string) bool { return len(h.commits) > 0 && h.commits[0] == commit }
