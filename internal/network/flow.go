package network

import (
	"net/netip"
	"time"
)

// FlowRecord is what one interface saw of one flow, in one direction, during one interval: a line of a flow log.
// Addresses are private ones, as the interface sees them.
type FlowRecord struct {
	LogID       string     `json:"log"`
	VPCID       string     `json:"vpc"`
	SubnetID    string     `json:"subnet"`
	InterfaceID string     `json:"interface"`
	InstanceID  string     `json:"instance,omitempty"`
	Source      netip.Addr `json:"src"`
	Dest        netip.Addr `json:"dst"`
	SourcePort  uint16     `json:"sport"` // 0 where the protocol has none
	DestPort    uint16     `json:"dport"`
	Protocol    uint8      `json:"proto"`
	Packets     uint64     `json:"packets"`
	Bytes       uint64     `json:"bytes"`
	Start       time.Time  `json:"start"`
	End         time.Time  `json:"end"`
	Rejected    bool       `json:"rejected,omitempty"`
	// Status is "" for a flow; NoData says that there was none in the interval, SkipData that some were not kept.
	Status string `json:"status,omitempty"`
	Egress bool   `json:"egress,omitempty"` // sent by the interface
}

// What a record without a flow says, in AWS's words.
const (
	NoData   = "NODATA"
	SkipData = "SKIPDATA"
)
