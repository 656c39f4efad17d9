package daemon

import (
	"context"

	"karri.dev/internal/admin"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

type (
	// SetZoneNetwork is what `karri zone network ZONE --mode …` asks for.
	SetZoneNetwork struct {
		Zone    string               `json:"zone"`
		Network resource.ZoneNetwork `json:"network"`
	}
	// ZoneInfo is one zone for `karri zone network`.
	ZoneInfo struct {
		Name    string               `json:"name"`
		Network resource.ZoneNetwork `json:"network"`
	}
)

func (p *cloudProcess) zoneMethods() map[string]admin.Method {
	return map[string]admin.Method{
		"zone-list": admin.Handle(p.listZones),
		"zone-network-set": admin.Handle(func(ctx context.Context, in SetZoneNetwork) (struct{}, error) {
			return struct{}{}, p.role.SetZoneNetwork(ctx, in.Zone, in.Network)
		}),
	}
}

func (p *cloudProcess) listZones(context.Context, struct{}) ([]ZoneInfo, error) {
	out := []ZoneInfo{}
	for z := range store.Zones.All(p.store.Snapshot()) {
		i := ZoneInfo{Name: z.Name, Network: z.Network}
		if z.Network.VPC() {
			i.Network.Mode = resource.ModeVPC
		}
		out = append(out, i)
	}
	return out, nil
}
