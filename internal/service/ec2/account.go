package ec2

import (
	"fmt"
	"time"

	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// EndInstances terminates every instance of an account, protected ones too: the first step of deleting it.
// It says how many are not terminated yet.
func EndInstances(tx *store.Tx, account string, now time.Time) (alive int, err error) {
	var all []*resource.Instance
	each(tx, store.InstancesByOwner, account, func(i *resource.Instance) { all = append(all, i) })
	for _, inst := range all {
		next, err := lifecycle.End(tx, inst, lifecycle.ByUser, now)
		if err != nil {
			return 0, err
		}
		if next.State.Alive() {
			alive++
		}
	}
	return alive, nil
}

// DeleteVolumes wants every volume of an account gone: the step after EndInstances. It says how many are still there:
// their zones delete the data first.
func DeleteVolumes(tx *store.Tx, account string) (left int, err error) {
	var all []*resource.Volume
	each(tx, store.VolumesByOwner, account, func(v *resource.Volume) { all = append(all, v) })
	for _, v := range all {
		if v.State == resource.VolumeDeleting {
			continue
		}
		if err := lifecycle.DeleteVolume(tx, v); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// DeleteAccount removes all that is an account's in EC2, in every region. It refuses while instances are
// alive or volumes are there: call EndInstances and DeleteVolumes before, each again until it says 0.
func DeleteAccount(tx *store.Tx, account string) error {
	alive := 0
	each(tx, store.InstancesByOwner, account, func(i *resource.Instance) {
		if i.State.Alive() {
			alive++
		}
	})
	if alive > 0 {
		return fmt.Errorf("account %s still has %d instances", account, alive)
	}
	kept := 0
	each(tx, store.VolumesByOwner, account, func(*resource.Volume) { kept++ })
	if kept > 0 {
		return fmt.Errorf("account %s still has %d volumes", account, kept)
	}
	removeAll(tx, instances, account)
	removeAll(tx, images, account)
	removeAll(tx, snapshots, account)
	removeAll(tx, importTasks, account)
	removeAll(tx, exportTasks, account)
	removeAll(tx, keyPairs, account)
	each(tx, store.LaunchTemplatesByOwner, account, func(t *resource.LaunchTemplate) { deleteVersions(tx, t) })
	removeAll(tx, templates, account)
	removeAll(tx, placementGroups, account)
	removeAll(tx, cidrReservations, account)
	removeAll(tx, flowLogs, account)
	removeAll(tx, natGateways, account)
	removeAll(tx, vpcEndpoints, account)
	removeAll(tx, vpnConnections, account)
	removeAll(tx, vpnGateways, account)
	removeAll(tx, customerGateways, account)
	if err := endLoans(tx, account); err != nil {
		return err
	}
	removeAll(tx, interfaces, account)
	removeAll(tx, addresses, account)
	removeAll(tx, addressTransfers, account)
	removeAll(tx, groups, account)
	var peerings []string
	each(tx, store.PeeringsBySide, account, func(p *resource.Peering) { peerings = append(peerings, p.ID) })
	for _, id := range peerings {
		store.Peerings.Delete(tx, id)
	}
	removeAll(tx, prefixLists, account)
	removeAll(tx, acls, account)
	removeAll(tx, routeTables, account)
	removeAll(tx, gateways, account)
	removeAll(tx, egressGateways, account)
	removeAll(tx, subnets, account)
	removeAll(tx, dhcpOptions, account)
	removeAll(tx, vpcs, account)
	for _, region := range regions(tx) {
		store.ImageSettings.Delete(tx, account+"/"+region)
		for _, setting := range []string{"snapshot-block-public-access/", "ebs-encryption-by-default/"} {
			store.Settings.Delete(tx, setting+account+"/"+region)
		}
	}
	return nil
}

// endLoans takes an account's interfaces from the instances of others, and its addresses from others' interfaces and the
// other way round.
func endLoans(tx *store.Tx, account string) error {
	var lent []*resource.Interface
	each(tx, store.InterfacesByOwner, account, func(e *resource.Interface) { lent = append(lent, e) })
	var given []*resource.Address
	each(tx, store.AddressesByOwner, account, func(a *resource.Address) { given = append(given, a) })
	for _, e := range lent {
		for _, p := range e.Addresses() {
			if a := store.Addresses.Get(tx, p.AllocationID); a != nil && a.AccountID != account {
				given = append(given, a)
			}
		}
		if e.InstanceID != "" {
			if err := lifecycle.DetachInterface(tx, e); err != nil {
				return err
			}
		}
	}
	for _, a := range given {
		a := *a
		a.ManagedBy = ""
		if err := dissociate(tx, &a); err != nil {
			return err
		}
	}
	return nil
}

// each visits the account's records in every region.
func each[T any](r store.Reader, owner *store.Index[T], account string, visit func(*T)) {
	for _, region := range regions(r) {
		for v := range owner.By(r, account+"/"+region) {
			visit(v)
		}
	}
}

func removeAll[T any](tx *store.Tx, k *kind[T], account string) {
	var keys []string
	each(tx, k.owner, account, func(v *T) { keys = append(keys, k.id(v)) })
	for _, key := range keys {
		k.table.Delete(tx, key)
	}
}
