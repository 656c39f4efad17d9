package resource

// FlowLog asks for records of what passes at the interfaces of a VPC, a subnet or a single one, as objects in a bucket.
// Failure is written by whoever delivers them.
type FlowLog struct {
	Owned
	ID         string `json:"id"` // fl-…
	VPCID      string `json:"vpc"`
	Kind       string `json:"kind"` // "VPC", "Subnet", "NetworkInterface"
	ResourceID string `json:"resource"`
	Traffic    string `json:"traffic"` // "ACCEPT", "REJECT", "ALL"
	Bucket     string `json:"bucket"`
	Prefix     string `json:"prefix,omitempty"` // with its last "/"
	Format     string `json:"format"`
	Seconds    int    `json:"seconds"` // longest interval of a record
	Hive       bool   `json:"hive,omitempty"`
	PerHour    bool   `json:"per_hour,omitempty"`
	Failure    string `json:"failure,omitempty"` // why the last records were not delivered
	Token      string `json:"token,omitempty"`   // the client token that it was made with, and a digest of the parameters
}

// Destination is the bucket and its folder as an ARN.
func (l *FlowLog) Destination() string {
	out := "arn:aws:s3:::" + l.Bucket
	if l.Prefix != "" {
		out += "/" + l.Prefix
	}
	return out
}

// Covers says whether an interface's flows belong into it.
func (l *FlowLog) Covers(e *Interface) bool {
	switch l.Kind {
	case "VPC":
		return e.VPCID == l.ResourceID
	case "Subnet":
		return e.SubnetID == l.ResourceID
	}
	return e.ID == l.ResourceID
}
