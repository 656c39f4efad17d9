package authz

import (
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/store"
)

// Table holds the entry of every operation of a service, by name.
type Table map[string]Entry

// Entry says what leave an operation asks for. The zero Entry asks for the action of the operation's own name on "*".
type Entry struct {
	// Action is the IAM action without its service; "" is the operation's own name.
	Action string
	// On says which resources, all of which must be allowed: terms separated by spaces. A term is a kind of the
	// service, a colon, and where the resources' names are in the request:
	//
	//	volume:VolumeId                  one member; a list means each
	//	instance:InstanceIds?            with "?": not asked for where no name is given; else TYPE/* would be
	//	security-group:GroupId,GroupName several members
	//	address:Nested.Member            members of members, through lists too
	//	volume:+                         the call makes one: TYPE/*. Tags for it in TagSpecifications or Tags are its
	//	                                 aws:RequestTag, and for EC2 they need ec2:CreateTags as well
	//	security-group-rule:+?           likewise, but asked for only where there are tags for it
	//	user:+UserName,Path              as volume:+, with the members that its ARN is made of
	//
	// "" or "*" is a call without resources.
	On string
	// Keys gives condition keys of the request: "ec2:VolumeType=VolumeType ec2:VolumeSize=Size".
	Keys string
	// More gives condition keys that are no members of the request; nil: none.
	More func(a *Asking, key policy.Key) (policy.Value, bool)
	// Whole gives the request with what it names elsewhere filled in (a launch template's parameters): leave is asked
	// for that. nil: the request is whole. A handler that fills in itself asks again (Engine.Again).
	Whole func(r store.Reader, info *call.Info, in any) any
	// Also asks for more than On can say; it runs after On was allowed.
	Also func(a *Asking)
	// Free is for what nobody needs leave for, not even who signed nothing wrong; the reason.
	Free string
	// Handler says that the handler asks (Engine.Decide), because what is needed depends on what it finds: the
	// actions it asks for, separated by spaces.
	Handler string
}

// Service is what Compile needs of a service.
type Service struct {
	Table Table
	Kinds map[string]Kind
}

// Kind is a type of resource.
type Kind struct {
	// ARN appends the ARN of the resource of this name, as Name gave it; for "" that of all of the caller's:
	// "arn:aws:ec2:us-east-1:111122223333:volume/*".
	ARN func(b []byte, info *call.Info, name string) []byte
	// Name makes one name of the several a resource may have in requests, so that a statement about it cannot be
	// escaped by another spelling. nil: as it is given.
	Name func(r store.Reader, info *call.Info, given string) string
	// Absent names what is meant where the request names nothing; nil: all of the caller's.
	Absent func(r store.Reader, info *call.Info) string
	// New gives the name of what is to be made, from the members after "+"; nil: "".
	New func(info *call.Info, members []string) string
	// Find gives the resource for its condition keys, nil if it is not there or is none of the caller's. nil: it
	// has no keys.
	Find func(r store.Reader, info *call.Info, name string) Resource
	// Owner gives the account that a resource belongs to where that may be another than the caller's; nil: never.
	Owner func(r store.Reader, info *call.Info, name string) string
}

// Resource gives the condition keys of a resource: aws:ResourceTag/…, ec2:Vpc ….
type Resource interface {
	Value(key policy.Key) (policy.Value, bool)
}
