package store

import (
	"strings"

	"karri.dev/internal/resource"
)

// Tasks that replace root volumes.
var (
	RootVolumeTasks        = table("root-volume-tasks", 1, func(t *resource.RootVolumeTask) string { return t.ID })
	RootVolumeTasksByOwner = index(RootVolumeTasks, "owner", func(t *resource.RootVolumeTask) []string { return []string{t.OwnedBy()} })
	// RootVolumeTasksOpen holds those under way, by instance and, all of them, under "".
	RootVolumeTasksOpen = index(RootVolumeTasks, "open", func(t *resource.RootVolumeTask) []string {
		if !t.Open() {
			return nil
		}
		return []string{"", t.InstanceID}
	})
)

// Snapshots.
var (
	Snapshots        = table("snapshots", 1, func(s *resource.Snapshot) string { return s.ID })
	SnapshotsByOwner = index(Snapshots, "owner", func(s *resource.Snapshot) []string { return []string{s.OwnedBy()} })
	// SnapshotsShared holds public ones under "REGION/all" and shared ones under "REGION/ACCOUNT".
	SnapshotsShared = index(Snapshots, "shared", func(s *resource.Snapshot) []string {
		var out []string
		if s.Public {
			out = append(out, s.Region+"/all")
		}
		for _, a := range s.Accounts {
			out = append(out, s.Region+"/"+a)
		}
		return out
	})
	SnapshotsByVolume = index(Snapshots, "volume", func(s *resource.Snapshot) []string { return some(s.VolumeID) })
	// SnapshotsPending holds, by zone, those that their zone has to fill.
	SnapshotsPending = index(Snapshots, "pending", func(s *resource.Snapshot) []string {
		if s.State != "pending" {
			return nil
		}
		return some(s.Zone)
	})
	// SnapshotsDirect holds, under "", those that clients write, and those that have something of that left.
	SnapshotsDirect = index(Snapshots, "direct", func(s *resource.Snapshot) []string {
		if s.Direct == nil {
			return nil
		}
		return []string{""}
	})
	SnapshotsByToken = index(Snapshots, "token", func(s *resource.Snapshot) []string {
		token, _, _ := strings.Cut(s.Token, " ")
		if token == "" {
			return nil
		}
		return []string{s.OwnedBy() + "/" + token}
	})
)
