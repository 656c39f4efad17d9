package nodeapi

import (
	"context"
	"io"
	"sync"
)

// Link is one end of the conversation between a node and its zone, over gRPC or in memory. Send and Recv may
// be called concurrently with each other, each by one goroutine. io.EOF says that the other end is gone.
type Link[Out, In any] interface {
	Send(*Out) error
	Recv() (*In, error)
}

// NodeLink is the node's end.
type NodeLink = Link[FromNode, FromZone]

// ZoneLink is the zone's end.
type ZoneLink = Link[FromZone, FromNode]

// Images is what a node asks its zone for beside the stream.
type Images interface {
	// ImageURL gives a URL from which this node may fetch the image's bytes for a short time. The zone
	// answers only for images of the node's own instances.
	ImageURL(ctx context.Context, imageID string) (string, error)
}

// Pipe gives both ends of a conversation in memory; close ends it for both. Values are passed as they are:
// neither end may change what it sent or received.
func Pipe() (node NodeLink, zone ZoneLink, hangUp func()) {
	up, down, done := make(chan *FromNode), make(chan *FromZone), make(chan struct{})
	var once sync.Once
	return &pipe[FromNode, FromZone]{up, down, done}, &pipe[FromZone, FromNode]{down, up, done}, func() { once.Do(func() { close(done) }) }
}

type pipe[Out, In any] struct {
	out  chan<- *Out
	in   <-chan *In
	done <-chan struct{}
}

func (p *pipe[Out, In]) Send(m *Out) error {
	select {
	case p.out <- m:
		return nil
	case <-p.done:
		return io.EOF
	}
}

func (p *pipe[Out, In]) Recv() (*In, error) {
	select {
	case m := <-p.in:
		return m, nil
	case <-p.done:
		return nil, io.EOF
	}
}
