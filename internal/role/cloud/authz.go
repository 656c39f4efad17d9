package cloud

import (
	"errors"
	"log/slog"

	"karri.dev/internal/authz"
	shapecloudtrail "karri.dev/internal/aws/shape/cloudtrail"
	shapeebs "karri.dev/internal/aws/shape/ebs"
	shapeec2 "karri.dev/internal/aws/shape/ec2"
	shapeiam "karri.dev/internal/aws/shape/iam"
	shapeorganizations "karri.dev/internal/aws/shape/organizations"
	shapes3 "karri.dev/internal/aws/shape/s3"
	shapequotas "karri.dev/internal/aws/shape/servicequotas"
	shapests "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/denial"
	"karri.dev/internal/service/ebs"
	"karri.dev/internal/service/ec2"
	"karri.dev/internal/service/iam"
	"karri.dev/internal/service/organizations"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/service/servicequotas"
	"karri.dev/internal/service/sts"
	"karri.dev/internal/store"
)

// NewAuthz makes the engine that decides the calls of every service.
func NewAuthz(s *store.Store, denials *denial.Codec, log *slog.Logger) *authz.Engine {
	e := authz.New(authz.Deps{Store: s, Denials: denials, Log: log})
	err := errors.Join(
		authz.Register[shapeec2.API](e, shapeec2.Service(), ec2.Permissions()),
		authz.Register[shapeebs.API](e, shapeebs.Service(), ebs.Permissions()),
		authz.Register[shapes3.API](e, shapes3.Service(), s3.Permissions()),
		authz.Register[shapeiam.API](e, shapeiam.Service(), iam.Permissions()),
		authz.Register[shapecloudtrail.API](e, shapecloudtrail.Service(), authz.Service{Table: authz.Table{"LookupEvents": {}}}),
		authz.Register[shapeorganizations.API](e, shapeorganizations.Service(), organizations.Permissions()),
		authz.Register[shapequotas.API](e, shapequotas.Service(), servicequotas.Permissions()),
		authz.Register[shapests.API](e, shapests.Service(), sts.Permissions()),
	)
	if err != nil {
		panic(err) // the tables are part of the program, and a test holds them
	}
	return e
}
