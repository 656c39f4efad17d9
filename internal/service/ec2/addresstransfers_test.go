package ec2

import (
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/store"
)

func TestAddressNames(t *testing.T) {
	c := newCloud(t)
	a := do(c, c.AllocateAddress, shape.AllocateAddressRequest{})
	other := do(c, c.AllocateAddress, shape.AllocateAddressRequest{})
	name := shape.ModifyAddressAttributeRequest{AllocationId: a.AllocationId, DomainName: "Mail.Example.com"}
	for code, in := range map[string]string{
		"MissingParameter": "", "InvalidParameterValue": "com",
	} {
		refused(c, c.ModifyAddressAttribute, shape.ModifyAddressAttributeRequest{AllocationId: a.AllocationId, DomainName: in}, code)
	}
	for _, bad := range []string{"a b.example.com", "x..example.com", ".example.com", "-a.example.com", "1.2.3.4", "a.example.com\n", "ä.example.com"} {
		refused(c, c.ModifyAddressAttribute, shape.ModifyAddressAttributeRequest{AllocationId: a.AllocationId, DomainName: bad}, "InvalidParameterValue")
	}
	c.code("another's", second(c.ModifyAddressAttribute(c.bob, &name)), "InvalidAllocationID.NotFound")
	if out := do(c, c.ModifyAddressAttribute, name).Address; out.PtrRecord != "mail.example.com." || out.PublicIp != a.PublicIp {
		t.Errorf("%+v", out)
	}
	list := do(c, c.DescribeAddressesAttribute, shape.DescribeAddressesAttributeRequest{Attribute: "domain-name", AllocationIds: []string{a.AllocationId, other.AllocationId}}).Addresses
	if len(list) != 1 || list[0].PtrRecord != "mail.example.com." {
		t.Errorf("%+v", list)
	}
	release := shape.ReleaseAddressRequest{AllocationId: a.AllocationId}
	refused(c, c.ReleaseAddress, release, "InvalidAddress.Locked")
	refused(c, c.ResetAddressAttribute, shape.ResetAddressAttributeRequest{AllocationId: a.AllocationId, Attribute: "colour"}, "InvalidParameterValue")
	do(c, c.ResetAddressAttribute, shape.ResetAddressAttributeRequest{AllocationId: a.AllocationId, Attribute: "domain-name"})
	do(c, c.ReleaseAddress, release)
}

func TestAddressTransfers(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	a := do(c, c.AllocateAddress, shape.AllocateAddressRequest{})
	offer := shape.EnableAddressTransferRequest{AllocationId: a.AllocationId, TransferAccountId: bob}
	accept := shape.AcceptAddressTransferRequest{Address: a.PublicIp, TagSpecifications: []shape.TagSpecification{{ResourceType: "elastic-ip", Tags: []shape.Tag{{Key: "k", Value: "v"}}}}}
	tryAccept := func(what, code string) {
		t.Helper()
		c.code(what, second(c.AcceptAddressTransfer(c.bob, &accept)), code)
	}
	refused(c, c.EnableAddressTransfer, shape.EnableAddressTransferRequest{AllocationId: a.AllocationId, TransferAccountId: alice}, "InvalidParameterValue")
	c.code("another's", second(c.EnableAddressTransfer(c.bob, &shape.EnableAddressTransferRequest{AllocationId: a.AllocationId, TransferAccountId: "333333333333"})), "InvalidAllocationID.NotFound")
	refused(c, c.DisableAddressTransfer, shape.DisableAddressTransferRequest{AllocationId: a.AllocationId}, "InvalidAddress.NotTransferring")
	tryAccept("not offered", "InvalidAddress.NotFound")
	do(c, c.EnableAddressTransfer, shape.EnableAddressTransferRequest{AllocationId: a.AllocationId, TransferAccountId: "333333333333"})
	tryAccept("offered to a third", "InvalidAddress.NotFound")
	if out := do(c, c.DisableAddressTransfer, shape.DisableAddressTransferRequest{AllocationId: a.AllocationId}).AddressTransfer; out.AddressTransferStatus != "disabled" {
		t.Errorf("%+v", out)
	}
	// A named address, and one in use, stays until its owner has let go.
	do(c, c.EnableAddressTransfer, offer)
	do(c, c.ModifyAddressAttribute, shape.ModifyAddressAttributeRequest{AllocationId: a.AllocationId, DomainName: "a.example.com"})
	tryAccept("named", "InvalidTransfer.AddressCustomPtrSet")
	do(c, c.ResetAddressAttribute, shape.ResetAddressAttributeRequest{AllocationId: a.AllocationId, Attribute: "domain-name"})
	igw := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	do(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	eni := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	assoc := do(c, c.AssociateAddress, shape.AssociateAddressRequest{AllocationId: a.AllocationId, NetworkInterfaceId: eni}).AssociationId
	tryAccept("in use", "InvalidTransfer.AddressAssociated")
	do(c, c.DisassociateAddress, shape.DisassociateAddressRequest{AssociationId: assoc})
	tryAccept("offered", "")
	tryAccept("twice", "InvalidAddress.NotFound")
	refused(c, c.ReleaseAddress, shape.ReleaseAddressRequest{AllocationId: a.AllocationId}, "InvalidAllocationID.NotFound")
	theirs, err := c.DescribeAddresses(c.bob, &shape.DescribeAddressesRequest{PublicIps: one(a.PublicIp)})
	if err != nil || len(theirs.Addresses) != 1 || theirs.Addresses[0].AllocationId == a.AllocationId || len(theirs.Addresses[0].Tags) != 1 {
		t.Fatalf("%+v %v", theirs, err)
	}
	list := do(c, c.DescribeAddressTransfers, shape.DescribeAddressTransfersRequest{}).AddressTransfers
	if len(list) != 1 || list[0].AddressTransferStatus != "accepted" || list[0].TransferAccountId != bob {
		t.Errorf("%+v", list)
	}

	// An offer ends; what ended is shown no more, and its record goes with the next one.
	second := do(c, c.AllocateAddress, shape.AllocateAddressRequest{})
	offer.AllocationId, accept.Address = second.AllocationId, second.PublicIp
	do(c, c.EnableAddressTransfer, offer)
	now := c.Clock()
	c.Clock = func() time.Time { return now.Add(transferTime) }
	tryAccept("too late", "InvalidAddress.NotFound")
	c.Clock = func() time.Time { return now.Add(transferShown) }
	if list := do(c, c.DescribeAddressTransfers, shape.DescribeAddressTransfersRequest{}).AddressTransfers; len(list) != 0 {
		t.Errorf("%+v", list)
	}
	do(c, c.EnableAddressTransfer, offer)
	if n := store.AddressTransfers.Len(c.Store.Snapshot()); n != 1 {
		t.Errorf("%d transfers are kept", n)
	}
	do(c, c.ReleaseAddress, shape.ReleaseAddressRequest{AllocationId: second.AllocationId})
	if n := store.AddressTransfers.Len(c.Store.Snapshot()); n != 0 {
		t.Errorf("%d transfers of no address", n)
	}
}
