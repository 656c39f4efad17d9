package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/admin"
	"karri.dev/internal/block/file"
	"karri.dev/internal/guestapi"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/pki"
	"karri.dev/internal/placement"
	"karri.dev/internal/resource"
	"karri.dev/internal/role/zone"
	"karri.dev/internal/store"
)

// Up runs every role in this process until ctx ends.
func Up(ctx context.Context, cfg UpConfig, log *slog.Logger, out io.Writer) error {
	began := time.Now()
	if err := cfg.Cloud.defaults(); err != nil {
		return err
	}
	dir := cfg.Cloud.DataDir
	policy, err := placement.ParsePolicy(cfg.Placement)
	if err != nil {
		return err
	}
	l, err := acquire(dir)
	if err != nil {
		return err
	}
	defer l.release()
	if err := os.MkdirAll(under(dir, "run"), 0o700); err != nil {
		return err
	}
	cfg.Cloud.guests = under(dir, "run", "guests.sock")
	p, err := openCloud(ctx, cfg.Cloud, log)
	if err != nil {
		return err
	}
	defer p.closers.close(log)

	volumes, err := file.New(under(dir, "volumes"))
	if err != nil {
		return err
	}
	z := zone.New(zone.Config{Name: cfg.Zone, Placement: policy, PublicPool: cfg.Cloud.PublicPool, Domain: cfg.Cloud.Domain, RoleKey: p.role.RoleKey, VolumeKeys: p.role.VolumeKeys}, zone.Deps{
		Store: p.store, Log: log, Now: time.Now,
		ImageURL: func(_ context.Context, img *resource.Image) (string, error) {
			return p.role.Links.URL(p.api.url(cfg.Cloud), img.ID), nil
		},
		Flows:   p.role.FlowLogs().Deliver,
		Volumes: volumes, Chunks: p.role.Chunks, OpenData: p.role.OpenData,
	})
	p.zone = ownZone{z}
	who, err := p.own(ctx, cfg.Zone)
	if err != nil {
		return err
	}
	cfg.Node.Join.DataDir = dir
	n, err := openNode(ctx, nodeParts{
		cfg: cfg.Node, id: who.Name, log: log, api: guestapi.Dialer(cfg.Cloud.guests),
		disks: func(context.Context, string) (net.Conn, error) { // QEMU says by itself what it wants
			near, far := net.Pipe()
			go func() {
				if err := z.ServeDisks(ctx, far); err != nil && ctx.Err() == nil {
					log.Warn("a disk is not served any more", "error", err)
				}
			}()
			return near, nil
		},
		fetch: func(ctx context.Context, img nodeapi.Image) (io.ReadCloser, error) {
			body, _, err := p.role.OpenImage(ctx, img.ID)
			return body, err
		},
		attach: func(ctx context.Context) (nodeapi.NodeLink, error) {
			nodeEnd, zoneEnd, hangUp := nodeapi.Pipe()
			go func() {
				defer hangUp()
				if err := z.Attach(ctx, who, zoneEnd); err != nil && ctx.Err() == nil {
					log.Warn("the zone ended the conversation", "error", err)
				}
			}()
			context.AfterFunc(ctx, hangUp)
			return nodeEnd, nil
		},
	})
	if err != nil {
		return err
	}
	defer n.closers.close(log)
	p.status = func() []admin.Component {
		return []admin.Component{zoneComponent(cfg.Zone, p.store.Healthy()), n.component()}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.run(gctx) })
	g.Go(func() error { return z.Run(gctx) })
	g.Go(func() error { return n.role.Run(gctx) })
	log.Info("everything is up", "after", time.Since(began).Round(time.Millisecond))
	fmt.Fprint(out, ready("up", "api=%s region=%s credentials=%s", p.api.url(cfg.Cloud), cfg.Cloud.Region, p.credentials))
	return ended(ctx, g.Wait())
}

// own registers the zone and the one node of this process, the first time.
func (p *cloudProcess) own(ctx context.Context, zoneName string) (pki.Identity, error) {
	who := pki.Identity{Role: "node", Zone: zoneName}
	err := p.store.Update(ctx, func(tx *store.Tx) error {
		if err := p.role.Membership.AddZone(tx, zoneName); err != nil {
			return err
		}
		for n := range store.NodesByZone.By(tx, zoneName) {
			if n.Local {
				who.Name = n.ID
				return nil
			}
		}
		n, err := p.role.Membership.AddNode(tx, "local", zoneName)
		if err != nil {
			return err
		}
		local := *n
		local.Local = true
		who.Name = n.ID
		return store.Nodes.Put(tx, &local)
	})
	return who, err
}
