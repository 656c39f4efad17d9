// Package cloud is the cloud role: the cloud controller and Walrus. It composes the services behind one front
// door, and runs the reconcilers that one process of the cloud leads.
package cloud

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"karri.dev/internal/audit"
	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	shapecloudtrail "karri.dev/internal/aws/shape/cloudtrail"
	shapeebs "karri.dev/internal/aws/shape/ebs"
	shapeec2 "karri.dev/internal/aws/shape/ec2"
	shapeiam "karri.dev/internal/aws/shape/iam"
	shapeorganizations "karri.dev/internal/aws/shape/organizations"
	shapes3 "karri.dev/internal/aws/shape/s3"
	shapequotas "karri.dev/internal/aws/shape/servicequotas"
	shapests "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/chunks"
	"karri.dev/internal/denial"
	"karri.dev/internal/flowlogs"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/imagelink"
	"karri.dev/internal/importer"
	"karri.dev/internal/instancerole"
	"karri.dev/internal/instancetype"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/login"
	"karri.dev/internal/mail"
	"karri.dev/internal/membership"
	"karri.dev/internal/object"
	"karri.dev/internal/oidc"
	"karri.dev/internal/page"
	"karri.dev/internal/pki"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/service/cloudtrail"
	"karri.dev/internal/service/ebs"
	"karri.dev/internal/service/ec2"
	"karri.dev/internal/service/iam"
	"karri.dev/internal/service/organizations"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/service/servicequotas"
	"karri.dev/internal/service/sts"
	"karri.dev/internal/signup"
	"karri.dev/internal/sparse"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
	"karri.dev/internal/volumekey"
)

// Config is what the cloud is.
type Config struct {
	Region     string
	Domain     string
	Endpoint   string // the API's URL as clients use it
	PublicPool []netip.Prefix
	// IssuerNetworks are those that are not the internet, in which OpenID Connect providers may be.
	IssuerNetworks []netip.Prefix

	UsageFile  string // when access keys were last used; "" = memory only
	TriesFile  string // how often who was wrong with passwords; "" = memory only
	ScratchDir string // of the importer
	SignUp     signup.Config
	// ObjectStores are the names of those that S3 may put buckets into, see object.Routes.
	ObjectStores []string
	RootDevice   string // of imported images: "ebs" or "instance-store"
	// Throttle, per account; 0 means the front door's default.
	RatePerSecond float64
}

// Deps are what the role works with.
type Deps struct {
	Registry *prometheus.Registry // nil: a new one
	Store    *store.Store
	Sealer   *seal.Sealer
	Objects  object.Engine
	Ledger   *object.Ledger // of Objects
	Root     *pki.Authority
	Keeper   *pki.Authority // nil with an external store
	IDs      *ids.Source
	Now      func() time.Time
	Log      *slog.Logger
	Audit    audit.Sink  // nil: none
	Mail     mail.Sender // nil: there is no signing up
	// Console reads an instance's console through its zone.
	Console func(ctx context.Context, inst *resource.Instance, max int) ([]byte, error)
	// Screen reads what an instance's display shows, likewise.
	Screen func(ctx context.Context, inst *resource.Instance) ([]byte, error)
	// Bundles is the key of the certificate for which users encrypt bundles; nil: none can be registered.
	Bundles *rsa.PrivateKey
	// Converter carries out imports; nil: this process does none (simulation).
	Converter importer.Converter
}

// Cloud is the role.
type Cloud struct {
	cfg  Config
	deps Deps

	Door       *frontdoor.Door
	Authz      *authz.Engine
	Quotas     *quota.Keeper
	Identity   *identity.Identity
	Membership *membership.Server
	Links      *imagelink.Signer
	EC2        *ec2.Service // for calls without HTTP: simulation
	Events     *audit.Recent
	VolumeKeys *volumekey.Keys
	RoleKey    *seal.Sealer // of the credentials of instances' roles; zones have it too

	Chunks   *chunks.Store
	direct   *ebs.Service
	roles    *instancerole.Maker
	SignUp   *signup.Server // nil without mail
	objects  *s3.Service
	importer *importer.Importer
}

// recentEvents is how many management events CloudTrail's LookupEvents can see.
const recentEvents = 20_000

// BucketUsage gives what each bucket of an account holds.
func (c *Cloud) BucketUsage(ctx context.Context, account string) ([]s3.BucketUsage, error) {
	return c.objects.Usage(ctx, account)
}

// ObjectQueues tells of events and replicas that wait.
func (c *Cloud) ObjectQueues(ctx context.Context) ([]s3.Queue, error) { return c.objects.Queues(ctx) }

// FlowLogs delivers the records of flow logs.
func (c *Cloud) FlowLogs() *flowlogs.Deliverer {
	return &flowlogs.Deliverer{Store: c.deps.Store, Bucket: c.objects, IDs: c.deps.IDs, Now: c.deps.Now, Log: c.deps.Log}
}

// New makes the role.
func New(cfg Config, deps Deps) *Cloud {
	c := &Cloud{cfg: cfg, deps: deps, Events: audit.NewRecent(recentEvents)}
	var events audit.Sink = c.Events
	if deps.Audit != nil {
		events = audit.Both(deps.Audit, c.Events)
	}
	registry := deps.Registry
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	c.Chunks = chunks.New(deps.Objects, deps.Sealer.Derive("snapshot blocks"))
	c.Authz = NewAuthz(deps.Store, denial.New(deps.Sealer), deps.Log)
	c.Quotas = quota.New(c.Authz)
	c.objects = s3.New(s3.Config{Regions: []string{cfg.Region}, Endpoint: cfg.Endpoint, Stores: cfg.ObjectStores},
		s3.Deps{Store: deps.Store, Engine: deps.Objects, IDs: deps.IDs, Now: deps.Now, Log: deps.Log, Authz: c.Authz, Quotas: c.Quotas, Ledger: deps.Ledger, Sealer: deps.Sealer})
	c.Identity = identity.New(identity.Config{UsageFile: cfg.UsageFile, TriesFile: cfg.TriesFile}, identity.Deps{
		Store: deps.Store, Sealer: deps.Sealer, IDs: deps.IDs, Now: deps.Now, Log: deps.Log, Authz: c.Authz,
		Hooks: identity.Hooks{
			Create: []func(*store.Tx, resource.Account) error{c.accountCreated},
			Drain:  []func(context.Context, resource.Account) error{c.drainInstances, c.drainVolumes, c.drainBuckets},
			Delete: []func(*store.Tx, resource.Account) error{func(tx *store.Tx, a resource.Account) error {
				store.Settings.Delete(tx, authz.LimitsName(a.ID))
				servicequotas.DeleteAccount(tx, a.ID)
				s3.DeleteAccount(tx, a.ID)
				return ec2.DeleteAccount(tx, a.ID)
			}},
		},
	})
	var err error
	if c.RoleKey, err = instancerole.NewSealer(deps.Sealer.Derive("image links")); err != nil {
		panic(err) // a derived key has the right size
	}
	c.VolumeKeys = volumekey.New(deps.Sealer.Derive("image links"))
	c.roles = instancerole.New(instancerole.Deps{
		Store: deps.Store, Sessions: c.Identity, Roles: c.Authz, Sealer: c.RoleKey, Now: deps.Now, Log: deps.Log,
	})
	c.Links = imagelink.NewSigner(deps.Sealer.Derive("image links"), deps.Now)
	c.Membership = &membership.Server{
		Root: deps.Root, Keeper: deps.Keeper, State: deps.Store, IDs: deps.IDs, Now: deps.Now, Log: deps.Log,
		ImageKey:  deps.Sealer.Derive("image links"),
		ZoneAdded: c.zoneAdded,
	}
	c.Door = frontdoor.New(frontdoor.Config{Domain: cfg.Domain, Regions: []string{cfg.Region}, RatePerSecond: cfg.RatePerSecond},
		frontdoor.Deps{
			Authenticator: c.Identity, Authorizer: c.Authz, Audit: events, Health: deps.Store.Healthy, Registry: registry,
			IDs: deps.IDs, Now: deps.Now, Log: deps.Log,
		})
	c.Door.Register(shapes3.Service(), c.objects)
	issuers := oidc.New(oidc.Config{Guard: oidc.Guard{Private: cfg.IssuerNetworks}}, deps.Now)
	c.Door.Register(shapeiam.Service(), iam.New(deps.Store, c.Identity, issuers, c.Quotas))
	c.Door.Register(shapests.Service(), sts.New(sts.Deps{
		Store: deps.Store, Sessions: c.Identity, Denials: denial.New(deps.Sealer), Roles: c.Authz, Tokens: issuers, Endpoint: cfg.Endpoint, Now: deps.Now,
	}))
	c.Door.Register(shapecloudtrail.Service(), cloudtrail.New(c.Events, page.New(deps.Sealer)))
	c.Door.Register(shapeorganizations.Service(), organizations.New(organizations.Deps{
		Store: deps.Store, Identity: c.Identity, IDs: deps.IDs, Tokens: page.New(deps.Sealer), Now: deps.Now,
	}))
	c.Door.Register(shapequotas.Service(), servicequotas.New(servicequotas.Deps{
		Store: deps.Store, Quotas: c.Quotas, IDs: deps.IDs, Tokens: page.New(deps.Sealer), Now: deps.Now,
	}))
	c.EC2 = ec2.New(ec2.Config{Domain: cfg.Domain, PublicPool: cfg.PublicPool, SnapshotPatience: 10 * time.Second}, ec2.Deps{
		Store: deps.Store, IDs: deps.IDs, Clock: deps.Now, Tokens: page.New(deps.Sealer), Types: instancetype.New(), Sealer: c.RoleKey,
		Console: consoles{c}, Objects: readable{c.objects}, Logs: c.objects, Roles: c.Authz, Quotas: c.Quotas, VolumeKeys: c.VolumeKeys, Log: deps.Log,
	})
	if deps.Bundles != nil {
		c.EC2.BundleKey = &deps.Bundles.PublicKey
	}
	c.Door.Register(shapeec2.Service(), c.EC2)
	c.direct = ebs.New(ebs.Deps{
		Store: deps.Store, Chunks: c.Chunks, Images: importer.Bucket, Sealer: deps.Sealer, IDs: deps.IDs, Quotas: c.Quotas, Now: deps.Now, Log: deps.Log,
		Readable: ec2.MayRestore, Encrypts: ec2.EncryptsByDefault,
	})
	c.Door.Register(shapeebs.Service(), c.direct)
	if deps.Mail != nil {
		c.SignUp = signup.New(cfg.SignUp, signup.Deps{Store: deps.Store, Identity: c.Identity, IDs: deps.IDs, Mail: deps.Mail, Now: deps.Now, Log: deps.Log})
		c.Door.Handle("signup/", c.SignUp)
	}
	c.Door.Handle("login", login.New(login.Deps{Identity: c.Identity, Audit: events, Region: cfg.Region, IDs: deps.IDs, Now: deps.Now, Log: deps.Log}))
	c.Door.Handle("join", c.Membership)
	c.Door.Handle("renew", c.Membership)
	c.Door.Handle(flowlogs.CarryPath, c.FlowLogs())
	c.Door.Handle("images/", imagelink.Handler(c.Links, deps.Log, c.OpenImage))
	if deps.Converter != nil {
		c.importer = importer.New(importer.Config{Scratch: cfg.ScratchDir, RootDevice: cfg.RootDevice}, importer.Deps{
			Store: deps.Store, Objects: deps.Objects, Converter: deps.Converter, Bundles: deps.Bundles, AddVolume: c.EC2.AddVolume, AddInstance: c.EC2.AddInstance,
			OpenData: c.OpenData, Upload: c.Door.Upload, Now: deps.Now, Log: deps.Log,
		})
	}
	return c
}

// NewRequestID gives an id for a call that did not come by the API.
func (c *Cloud) NewRequestID() string { return c.deps.IDs.UUID() }

// Handler serves the API.
func (c *Cloud) Handler() http.Handler { return c.Door }

// Bootstrap makes what a new cloud needs: the administrator's account and the buckets of the system.
func (c *Cloud) Bootstrap(ctx context.Context) (resource.Account, identity.Key, error) {
	err := c.deps.Store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(importer.CreateBucket(tx, c.cfg.Region, c.deps.Now()), chunks.CreateBucket(tx, c.cfg.Region, c.deps.Now()))
	})
	if err != nil {
		return resource.Account{}, identity.Key{}, fmt.Errorf("make the system buckets: %w", err)
	}
	return c.Identity.Bootstrap(ctx, identity.Key{})
}

// Run works until ctx ends. The API is served by whoever holds Handler.
func (c *Cloud) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.Identity.Run(ctx) })
	g.Go(func() error { return c.deps.Store.Lead(ctx, "cloud", c.lead) })
	return g.Wait()
}

// lead runs the reconcilers of which the cloud needs one each.
func (c *Cloud) lead(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return lifecycle.NewReaper(c.deps.Store, c.deps.Now, time.Minute, c.deps.Log).Run(ctx) })
	g.Go(func() error { return c.objects.Run(ctx) })
	g.Go(func() error { return c.objects.RunOutbox(ctx) })
	g.Go(func() error { return c.objects.RunAccessLogs(ctx) })
	g.Go(func() error { return c.Chunks.Collect(ctx, c.deps.Store, c.deps.Log) })
	g.Go(func() error { return c.direct.Run(ctx) })
	g.Go(func() error {
		return (&lifecycle.RootTasks{Store: c.deps.Store, Now: c.deps.Now, Log: c.deps.Log}).Run(ctx)
	})
	g.Go(func() error { return c.roles.Run(ctx) })
	g.Go(func() error { return userdata.SealOld(ctx, c.deps.Store, c.RoleKey) })
	if c.SignUp != nil {
		g.Go(func() error { return c.SignUp.Run(ctx) })
	}
	if c.importer != nil {
		g.Go(func() error { return c.importer.Run(ctx) })
	}
	return g.Wait()
}

// accountCreated gives a new account its default VPC, or what there is in its place.
func (c *Cloud) accountCreated(tx *store.Tx, a resource.Account) error {
	return ec2.WelcomeAccount(tx, c.deps.IDs, c.deps.Now(), a.ID, c.cfg.Region)
}

// zoneAdded gives every account's default VPC a subnet in a new zone.
func (c *Cloud) zoneAdded(tx *store.Tx, z *resource.Zone) error {
	return ec2.SettleRegion(tx, c.deps.IDs, c.deps.Now(), z.Region)
}

// SetZoneNetwork gives a zone another kind of network.
func (c *Cloud) SetZoneNetwork(ctx context.Context, zone string, network resource.ZoneNetwork) error {
	return c.deps.Store.Update(ctx, func(tx *store.Tx) error {
		return ec2.SetZoneNetwork(tx, c.deps.IDs, c.deps.Now(), zone, network)
	})
}

// drainInstances ends an account's instances and waits until they are gone.
func (c *Cloud) drainInstances(ctx context.Context, a resource.Account) error {
	return c.drain(ctx, a, "instances", func(tx *store.Tx) (int, error) { return ec2.EndInstances(tx, a.ID, c.deps.Now()) })
}

// drainVolumes deletes an account's volumes and waits until their data is gone.
func (c *Cloud) drainVolumes(ctx context.Context, a resource.Account) error {
	return c.drain(ctx, a, "volumes", func(tx *store.Tx) (int, error) { return ec2.DeleteVolumes(tx, a.ID) })
}

// drain takes a step until it says that nothing is left.
func (c *Cloud) drain(ctx context.Context, a resource.Account, what string, step func(*store.Tx) (left int, err error)) error {
	for {
		left := 0
		err := c.deps.Store.Update(ctx, func(tx *store.Tx) (err error) {
			left, err = step(tx)
			return err
		})
		if err != nil || left == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d %s of account %s are still there: %w", left, what, a.Name, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// drainBuckets deletes an account's buckets with all that is in them.
func (c *Cloud) drainBuckets(ctx context.Context, a resource.Account) error {
	for _, b := range slices.Collect(store.BucketsByOwner.By(c.deps.Store.Snapshot(), a.ID)) {
		for {
			page, err := c.deps.Objects.ListVersions(ctx, b.Engine, object.VersionOptions{Max: 1000})
			if errors.Is(err, object.ErrNoBucket) {
				break // dropped before, and cut short
			}
			if err != nil {
				return err
			}
			for _, o := range page.Versions {
				if _, err := c.deps.Objects.Delete(ctx, b.Engine, object.Delete{Key: o.Key, VersionID: o.VersionID, Bypass: true}); err != nil {
					return err
				}
			}
			if !page.Truncated {
				break
			}
		}
		if err := c.deps.Objects.Drop(ctx, b.Engine); err != nil {
			return err
		}
		err := c.deps.Store.Update(ctx, func(tx *store.Tx) error {
			s3.Forget(tx, b)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// OpenData opens the data of a snapshot, or what is below a volume. It is to be closed.
func (c *Cloud) OpenData(ctx context.Context, data *resource.ImageData) (sparse.Disk, io.Closer, error) {
	return c.Chunks.OpenData(ctx, importer.Bucket, data)
}

// OpenImage opens the bytes of an image, or of what is below a volume.
func (c *Cloud) OpenImage(ctx context.Context, imageID string) (io.ReadCloser, int64, error) {
	snap := c.deps.Store.Snapshot()
	key := ""
	if img := store.Images.Get(snap, imageID); img != nil {
		key = img.Data.Key
	} else if v := store.Volumes.Get(snap, imageID); v != nil && v.Base != nil {
		key = v.Base.Key
	} else {
		return nil, 0, fmt.Errorf("there is no image %q", imageID)
	}
	o, err := c.deps.Objects.Get(ctx, importer.Bucket, key, "")
	if err != nil {
		return nil, 0, err
	}
	size := o.Meta().Size
	body, err := o.Range(0, size)
	if err != nil {
		o.Close()
		return nil, 0, err
	}
	return &opened{body, o}, size, nil
}

// opened closes the object with its body.
type opened struct {
	io.ReadCloser
	object object.Object
}

func (o *opened) Close() error {
	err := o.ReadCloser.Close()
	if e := o.object.Close(); err == nil {
		err = e
	}
	return err
}

// consoles is ec2.Console.
type consoles struct{ c *Cloud }

func (c consoles) Console(ctx context.Context, instanceID string, max int) ([]byte, error) {
	inst := store.Instances.Get(c.c.deps.Store.Snapshot(), instanceID)
	if inst == nil || inst.Node == "" {
		return nil, nil
	}
	return c.c.deps.Console(ctx, inst, max)
}

func (c consoles) Screen(ctx context.Context, instanceID string) ([]byte, error) {
	inst := store.Instances.Get(c.c.deps.Store.Snapshot(), instanceID)
	if inst == nil || inst.Node == "" {
		return nil, nil
	}
	return c.c.deps.Screen(ctx, inst)
}

// readable is ec2.Objects: what the caller may read and write in S3.
type readable struct{ s *s3.Service }

func (r readable) Read(ctx context.Context, bucket, key string, max int64) ([]byte, error) {
	out, err := r.s.GetObject(ctx, &shapes3.GetObjectRequest{Bucket: bucket, Key: key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, max+1))
	if err == nil && int64(len(b)) > max {
		err = awserr.New("EntityTooLarge", "the object has more than %d bytes", max)
	}
	return b, err
}

func (r readable) Probe(ctx context.Context, bucket, key string) error {
	none := int64(0)
	_, err := r.s.PutObject(ctx, &shapes3.PutObjectRequest{Bucket: bucket, Key: key, Body: http.NoBody, ContentLength: &none})
	return err
}

func (r readable) Exists(ctx context.Context, bucket, key string) error {
	_, err := r.s.HeadObject(ctx, &shapes3.HeadObjectRequest{Bucket: bucket, Key: key})
	return err
}
