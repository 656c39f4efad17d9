package ec2

// opened says which features the data plane gives: what it does not give yet is refused, so that nothing is
// shown that no packet obeys.
type opened struct {
	secondary bool // further private addresses of an interface
	peering   bool // VPC peering
}

// ready is what the network driver has.
var ready = opened{secondary: true}

// open says in an error that a feature is not there yet, or gives nil.
func open(feature bool, what string) error {
	if feature {
		return nil
	}
	return errUnsupported("%s not supported by this cloud yet.", what)
}
