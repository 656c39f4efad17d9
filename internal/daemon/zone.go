package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/admin"
	"karri.dev/internal/block/file"
	"karri.dev/internal/flowlogs"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/imagelink"
	"karri.dev/internal/instancerole"
	"karri.dev/internal/membership"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/placement"
	"karri.dev/internal/resource"
	"karri.dev/internal/role/zone"
	"karri.dev/internal/store"
	"karri.dev/internal/volumekey"
)

// Zone runs the zone role until ctx ends.
func Zone(ctx context.Context, cfg ZoneConfig, log *slog.Logger, out io.Writer) error {
	policy, err := placement.ParsePolicy(cfg.Placement)
	if err != nil {
		return err
	}
	l, err := acquire(cfg.Join.DataDir)
	if err != nil {
		return err
	}
	defer l.release()
	m, err := join(ctx, cfg.Join, "zone", "")
	if err != nil {
		return err
	}
	w := m.Welcome()
	var settings zoneSettings
	if err := json.Unmarshal(w.Settings, &settings); err != nil {
		return fmt.Errorf("the cloud's settings: %w", err)
	}
	etcd := cfg.Etcd
	if len(etcd.Endpoints) == 0 {
		if len(w.StoreEndpoints) == 0 {
			return errors.New("the cloud offers zones no state store: run it with --store-listen, or give --store-endpoint here as there")
		}
		cert, root := m.StorePaths()
		etcd = Etcd{Endpoints: w.StoreEndpoints, Cert: cert, Key: cert, CA: root}
	}
	st, err := store.Open(ctx, store.Config{External: etcd}, log)
	if err != nil {
		return err
	}
	defer st.Close()
	links := imagelink.NewSigner(w.ImageKey, time.Now)
	volumes, err := file.New(under(cfg.Join.DataDir, "volumes"))
	if err != nil {
		return err
	}
	roleKey, err := instancerole.NewSealer(w.ImageKey)
	if err != nil {
		return err
	}
	exports, err := volumeController(cfg.Join.DataDir, cfg.StorageListen, log)
	if err != nil {
		return err
	}
	z := zone.New(zone.Config{Name: m.Identity.Name, Placement: policy, PublicPool: settings.PublicPool, Domain: settings.Domain, RoleKey: roleKey, VolumeKeys: volumekey.New(w.ImageKey), Storage: cfg.StorageListen}, zone.Deps{
		Store: st, Log: log, Now: time.Now,
		Flows:    flowlogs.Carrier(&http.Client{Transport: &http.Transport{TLSClientConfig: m.CloudConfig()}}, m.Cloud+frontdoor.Own+flowlogs.CarryPath),
		ImageURL: func(_ context.Context, img *resource.Image) (string, error) { return links.URL(m.Cloud, img.ID), nil },
		Volumes:  volumes, Exports: exports,
	})
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	server := nodeapi.NewServer(m.Keys.ServerConfig(m.Roots), z)
	if err := announce(ctx, st, m.Identity.Name, cfg.Listen); err != nil {
		listener.Close()
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return z.Run(gctx) })
	g.Go(func() error { return server.Serve(listener) })
	g.Go(func() error { return m.Run(gctx, log) })
	g.Go(func() error {
		return admin.Serve(gctx, cfg.Join.DataDir, log, map[string]admin.Method{"status": admin.Handle(func(context.Context, struct{}) (admin.Status, error) {
			return status(zoneComponent(m.Identity.Name, st.Healthy())), nil
		})})
	})
	g.Go(func() error {
		<-gctx.Done()
		server.Stop() // nodes connect again; what they do does not depend on us
		return gctx.Err()
	})
	fmt.Fprint(out, ready("zone", "name=%s listen=%s", m.Identity.Name, cfg.Listen))
	return ended(ctx, g.Wait())
}

// announce writes where the zone is reached.
func announce(ctx context.Context, st *store.Store, name, endpoint string) error {
	return st.Update(ctx, func(tx *store.Tx) error {
		old := store.Zones.Get(tx, name)
		if old == nil {
			return fmt.Errorf("zone %s is not registered", name)
		}
		if old.Endpoint == endpoint {
			return nil
		}
		z := *old
		z.Endpoint = endpoint
		return store.Zones.Put(tx, &z)
	})
}

// join makes this process a member in the role that its token was made for.
func join(ctx context.Context, j JoinConfig, role, name string) (*membership.Member, error) {
	m, err := membership.Join(ctx, under(j.DataDir, "membership"), j.Cloud, j.Token, name)
	if err != nil {
		return nil, err
	}
	if m.Identity.Role != role {
		return nil, fmt.Errorf("%s belongs to a %s, not to a %s", j.DataDir, m.Identity.Role, role)
	}
	return m, nil
}
