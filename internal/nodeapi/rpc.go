package nodeapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"karri.dev/internal/compute"
	"karri.dev/internal/pki"
)

// The service on the wire: gRPC frames with JSON inside. The messages are the Go structs above, so that
// there is one definition of them and no generated code.
const (
	serviceName = "karri.Zone"
	// maxMessage bounds one message; a desired state of some thousand interfaces has a few MiB.
	maxMessage = 64 << 20
)

type jsonCodec struct{}

func (jsonCodec) Name() string                       { return "json" }
func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Server is what a zone offers. Who calls is told by the certificate and passed in.
type Server interface {
	// Attach holds the conversation with one node until it ends.
	Attach(ctx context.Context, who pki.Identity, link ZoneLink) error
	// ImageURL answers Images.ImageURL for a node.
	ImageURL(ctx context.Context, who pki.Identity, imageID string) (string, error)
	// Console gives the end of an instance's console; the cloud asks.
	Console(ctx context.Context, who pki.Identity, instanceID string, max int) ([]byte, error)
	// Screen gives what an instance's display shows, as JPEG; the cloud asks.
	Screen(ctx context.Context, who pki.Identity, instanceID string) ([]byte, error)
}

// noScreen is the reply's text for compute.ErrNoScreen, which gRPC would not carry.
const noScreen = "no screen"

type request struct {
	ID  string `json:"id"`
	Max int    `json:"max,omitempty"`
}

type reply struct {
	Text string `json:"text,omitempty"`
	Data []byte `json:"data,omitempty"`
}

// NewServer makes the gRPC server of a zone. config must demand certificates of the cloud's authority.
func NewServer(config *tls.Config, s Server) *grpc.Server {
	g := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.ForceServerCodec(jsonCodec{}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	unary := func(name string, handle func(ctx context.Context, who pki.Identity, in *request) (*reply, error)) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(request)
			if err := decode(in); err != nil {
				return nil, err
			}
			who, err := caller(ctx)
			if err != nil {
				return nil, err
			}
			return handle(ctx, who, in)
		}}
	}
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("ImageURL", func(ctx context.Context, who pki.Identity, in *request) (*reply, error) {
				url, err := s.ImageURL(ctx, who, in.ID)
				return &reply{Text: url}, err
			}),
			unary("Console", func(ctx context.Context, who pki.Identity, in *request) (*reply, error) {
				data, err := s.Console(ctx, who, in.ID, in.Max)
				return &reply{Data: data}, err
			}),
			unary("Screen", func(ctx context.Context, who pki.Identity, in *request) (*reply, error) {
				data, err := s.Screen(ctx, who, in.ID)
				if errors.Is(err, compute.ErrNoScreen) {
					return &reply{Text: noScreen}, nil
				}
				return &reply{Data: data}, err
			}),
		},
		Streams: []grpc.StreamDesc{{
			StreamName: "Attach", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error {
				who, err := caller(stream.Context())
				if err != nil {
					return err
				}
				return s.Attach(stream.Context(), who, &streamLink[FromZone, FromNode]{stream})
			},
		}},
	}, s)
	return g
}

func caller(ctx context.Context) (pki.Identity, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return pki.Identity{}, fmt.Errorf("no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return pki.Identity{}, fmt.Errorf("no verified certificate")
	}
	return pki.IdentityOf(info.State.VerifiedChains[0][0])
}

// stream is what client and server streams of gRPC share.
type stream interface {
	SendMsg(any) error
	RecvMsg(any) error
}

type streamLink[Out, In any] struct{ s stream }

func (l *streamLink[Out, In]) Send(m *Out) error { return l.s.SendMsg(m) }

func (l *streamLink[Out, In]) Recv() (*In, error) {
	m := new(In)
	return m, l.s.RecvMsg(m)
}

// Client speaks to a zone.
type Client struct{ conn *grpc.ClientConn }

// Dial prepares a connection to a zone at addr; it is made, and made again, when needed.
func Dial(addr string, config *tls.Config) (*Client, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(jsonCodec{}), grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}),
	)
	if err != nil {
		return nil, fmt.Errorf("dial zone %s: %w", addr, err)
	}
	return &Client{conn}, nil
}

// Attach opens the conversation; it ends with ctx.
func (c *Client) Attach(ctx context.Context) (NodeLink, error) {
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "Attach", ServerStreams: true, ClientStreams: true}, "/"+serviceName+"/Attach")
	if err != nil {
		return nil, fmt.Errorf("attach to zone: %w", err)
	}
	return &streamLink[FromNode, FromZone]{s}, nil
}

// ImageURL implements Images.
func (c *Client) ImageURL(ctx context.Context, imageID string) (string, error) {
	out := new(reply)
	err := c.conn.Invoke(ctx, "/"+serviceName+"/ImageURL", &request{ID: imageID}, out)
	return out.Text, err
}

// Console gives the end of an instance's console.
func (c *Client) Console(ctx context.Context, instanceID string, max int) ([]byte, error) {
	out := new(reply)
	err := c.conn.Invoke(ctx, "/"+serviceName+"/Console", &request{ID: instanceID, Max: max}, out)
	return out.Data, err
}

// Screen gives what an instance's display shows.
func (c *Client) Screen(ctx context.Context, instanceID string) ([]byte, error) {
	out := new(reply)
	err := c.conn.Invoke(ctx, "/"+serviceName+"/Screen", &request{ID: instanceID}, out)
	if err == nil && out.Text == noScreen {
		return nil, compute.ErrNoScreen
	}
	return out.Data, err
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }
