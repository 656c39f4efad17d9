package lifecycle

import (
	"time"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// FinishNAT makes a NAT gateway deleted: to be called once no node has it any more. Its elastic IPs are free again.
func FinishNAT(tx *store.Tx, g *resource.NATGateway) error {
	next := *g
	next.State, next.Node, next.InterfaceID = resource.NATDeleted, "", ""
	if eni := store.Interfaces.Get(tx, g.InterfaceID); eni != nil {
		next.Had = eni.Addresses()
		if err := freeAddresses(tx, eni); err != nil {
			return err
		}
		store.Interfaces.Delete(tx, eni.ID)
	}
	return store.NATGateways.Put(tx, &next)
}

// freeAddresses takes the elastic IPs from an interface that is about to go.
func freeAddresses(tx *store.Tx, eni *resource.Interface) error {
	for _, address := range eni.Addresses() {
		if a := store.Addresses.Get(tx, address.AllocationID); a != nil {
			free := *a
			free.AssociationID, free.InterfaceID, free.PrivateIP, free.ManagedBy = "", "", "", ""
			if err := store.Addresses.Put(tx, &free); err != nil {
				return err
			}
		}
	}
	return nil
}

// oldNATs gives the NAT gateways that ended longer than Shown ago, at most limit of them.
func oldNATs(r store.Reader, now time.Time, limit int) (ids []string) {
	for g := range store.NATGatewaysEnded.By(r, "yes") {
		if len(ids) < limit && now.Sub(g.EndedAt) >= Shown {
			ids = append(ids, g.ID)
		}
	}
	return ids
}
