package ec2

import "maps"

// pageMembers are what most Describe calls have.
const pageMembers = "DryRun Filters MaxResults NextToken "

// nothingManaged is why IncludeManagedResources has no effect.
var nothingManaged = map[string]string{"IncludeManagedResources": "nothing is managed by another service"}

// operations is the table of what is done with every member of every request; each area has a file of its own.
func operations() map[string]members {
	all := map[string]members{}
	for _, area := range []map[string]members{
		accountOperations(), instanceOperations(), imageOperations(), volumeOperations(), networkOperations(), groupOperations(), vpcOperations(),
		templateOperations(), unofferedOperations(), consoleOperations(), vpnOperations(),
	} {
		maps.Copy(all, area)
	}
	return all
}
