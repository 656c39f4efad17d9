package cloud

import (
	shapecloudtrail "karri.dev/internal/aws/shape/cloudtrail"
	shapeebs "karri.dev/internal/aws/shape/ebs"
	shapeec2 "karri.dev/internal/aws/shape/ec2"
	shapeiam "karri.dev/internal/aws/shape/iam"
	shapeorganizations "karri.dev/internal/aws/shape/organizations"
	shapes3 "karri.dev/internal/aws/shape/s3"
	shapequotas "karri.dev/internal/aws/shape/servicequotas"
	shapests "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/service/ebs"
	"karri.dev/internal/service/ec2"
	"karri.dev/internal/service/organizations"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/service/servicequotas"
)

// ServiceOperations are what is served of one AWS service.
type ServiceOperations struct {
	Service    string      `json:"service"`
	Known      int         `json:"known"` // operations in AWS's description
	Operations []Operation `json:"operations"`
}

// Operation is one operation served.
type Operation struct {
	Name string `json:"name"`
	Note string `json:"note,omitempty"` // what of it is not honoured
}

// Operations lists everything served.
func Operations() []ServiceOperations {
	var all []ServiceOperations
	for _, s := range []struct {
		service *wire.Service
		notes   map[string]string
	}{
		{shapeec2.Service(), ec2.Notes()},
		{shapeebs.Service(), ebs.Notes()},
		{shapes3.Service(), s3.Notes()},
		{shapeiam.Service(), nil},
		{shapests.Service(), nil},
		{shapecloudtrail.Service(), nil},
		{shapeorganizations.Service(), organizations.Notes()},
		{shapequotas.Service(), servicequotas.Notes()},
	} {
		out := ServiceOperations{Service: s.service.Name, Known: len(s.service.Known)}
		for _, op := range s.service.Operations {
			out.Operations = append(out.Operations, Operation{op.Name, s.notes[op.Name]})
		}
		all = append(all, out)
	}
	return all
}
