package lifecycle

import (
	"slices"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// SettleImages ends the waiting of images that are made of a snapshot whose state has just changed: they are there when
// all their snapshots are, and failed with the first that has failed.
func SettleImages(tx *store.Tx, snap *resource.Snapshot) error {
	uses := func(m resource.ImageMapping) bool { return m.SnapshotID == snap.ID }
	for _, img := range slices.Collect(store.ImagesByOwner.By(tx, snap.OwnedBy())) {
		if img.State != resource.ImagePending || img.RootDeviceType != "ebs" || !slices.ContainsFunc(img.Mappings, uses) {
			continue
		}
		next := *img
		next.State = resource.ImageAvailable
		for _, m := range img.Mappings {
			if m.SnapshotID == "" {
				continue
			}
			s := store.Snapshots.Get(tx, m.SnapshotID)
			if s == nil || s.State == "error" {
				next.State, next.StateReason = resource.ImageFailed, "The snapshot "+m.SnapshotID+" could not be made."
				break
			}
			if s.State != "completed" {
				next.State = resource.ImagePending
			}
		}
		if next.State == resource.ImagePending {
			continue
		}
		if err := store.Images.Put(tx, &next); err != nil {
			return err
		}
	}
	return nil
}
