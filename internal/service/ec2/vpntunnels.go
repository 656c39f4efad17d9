package ec2

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// pskShape is what a pre-shared key may be, but for the first character.
var pskShape = regexp.MustCompile(`^[A-Za-z1-9._][A-Za-z0-9._]{7,63}$`)

// insideReserved are the third and fourth bytes of /30 blocks of 169.254.0.0/16 that AWS keeps; of 169.254.169.0 the
// cloud's own services are in all.
func insideReserved(p netip.Prefix) bool {
	b := p.Addr().As4()
	return b[2] <= 5 && b[3] == 0 || b[2] == 169 && b[3] >= 252
}

// readInside checks a tunnel's inside block.
func readInside(given string) error {
	p, err := netip.ParsePrefix(given)
	switch {
	case err != nil || p != p.Masked() || !p.Addr().Is4() || p.Bits() != 30 || !p.Addr().IsLinkLocalUnicast():
		return awserr.New("InvalidParameterValue", "Value (%s) for parameter TunnelInsideCidr is invalid. It must be a /30 CIDR block of 169.254.0.0/16.", given)
	case insideReserved(p):
		return awserr.New("InvalidParameterValue", "Value (%s) for parameter TunnelInsideCidr is invalid. The CIDR block is reserved.", given)
	}
	return nil
}

// insideTaken gives the inside blocks of a virtual private gateway's connections, but for one tunnel's.
func insideTaken(r store.Reader, gateway, but string) map[string]bool {
	out := map[string]bool{}
	for c := range store.VPNConnectionsByGateway.By(r, gateway) {
		for _, t := range c.Tunnels {
			if t.Outside != but {
				out[t.Inside] = true
			}
		}
	}
	return out
}

// freeInside picks an inside block.
func freeInside(taken map[string]bool, rnd *rand.Rand) string {
	for {
		n := rnd.IntN(1 << 14)
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, byte(n >> 6), byte(n << 2)}), 30)
		if !insideReserved(p) && !taken[p.String()] {
			return p.String()
		}
	}
}

const pskLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz123456789._"

// checkPSK checks a pre-shared key. The message does not repeat it.
func checkPSK(psk string) error {
	if !pskShape.MatchString(psk) {
		return awserr.New("InvalidParameterValue", "The parameter PreSharedKey is invalid. It must be 8 to 64 alphanumeric characters, periods and underscores, and cannot start with zero.")
	}
	return nil
}

// checkRange checks an optional number.
func checkRange(name string, v *int, least, most int) error {
	if v != nil && (*v < least || *v > most) {
		return errValue(strconv.Itoa(*v), name)
	}
	return nil
}

// takeFrom sets to to what a list asks for, each once and checked against what is allowed; an empty list changes nothing.
func takeFrom[V comparable](to *[]V, name string, list, allowed []V) error {
	var out []V
	for _, v := range list {
		if !slices.Contains(allowed, v) {
			return errValue(fmt.Sprint(v), name)
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	if len(out) > 0 {
		*to = out
	}
	return nil
}

// AWS wraps each value of these lists in a structure of its own.

func wordsOf[T ~struct{ Value string }](list []T) (out []string) {
	for _, v := range list {
		out = append(out, struct{ Value string }(v).Value)
	}
	return out
}

func numbersOf[T ~struct{ Value *int }](list []T) (out []int) {
	for _, v := range list {
		out = append(out, number(struct{ Value *int }(v).Value))
	}
	return out
}

func wrapped[T ~struct{ Value V }, V any](list []V) (out []T) {
	for _, v := range list {
		out = append(out, T(struct{ Value V }{v}))
	}
	return out
}

var (
	encryptions = []string{"AES128", "AES256", "AES128-GCM-16", "AES256-GCM-16"}
	integrities = []string{"SHA1", "SHA2-256", "SHA2-384", "SHA2-512"}
	phase1DH    = []int{2, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}
	ikeVersions = []string{"ikev1", "ikev2"}
	phase2DH    = []int{2, 5, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}
)

// readTunnel checks a tunnel's options and gives what of them is not the default, on top of what there was.
func readTunnel(in *shape.VpnTunnelOptionsSpecification, o resource.VPNTunnelOptions) (resource.VPNTunnelOptions, error) {
	if in.TunnelInsideCidr != "" {
		if err := readInside(in.TunnelInsideCidr); err != nil {
			return o, err
		}
	}
	if in.PreSharedKey != "" {
		if err := checkPSK(in.PreSharedKey); err != nil {
			return o, err
		}
	}
	for _, n := range []struct {
		name        string
		v           *int
		least, most int
		to          *int
	}{
		{"Phase1LifetimeSeconds", in.Phase1LifetimeSeconds, 900, 28800, &o.Phase1.Seconds},
		{"Phase2LifetimeSeconds", in.Phase2LifetimeSeconds, 900, 3600, &o.Phase2.Seconds},
		{"RekeyMarginTimeSeconds", in.RekeyMarginTimeSeconds, 60, 1800, &o.Margin},
		{"ReplayWindowSize", in.ReplayWindowSize, 64, 2048, &o.Replay},
		{"DPDTimeoutSeconds", in.DPDTimeoutSeconds, 30, 86400, &o.DPDTimeout},
	} {
		if err := checkRange(n.name, n.v, n.least, n.most); err != nil {
			return o, err
		}
		if n.v != nil {
			*n.to = *n.v
		}
	}
	if err := checkRange("RekeyFuzzPercentage", in.RekeyFuzzPercentage, 0, 100); err != nil {
		return o, err
	}
	if in.RekeyFuzzPercentage != nil {
		o.Fuzz = in.RekeyFuzzPercentage
	}
	one, two := choose(o.Phase1.Seconds == 0, 28800, o.Phase1.Seconds), choose(o.Phase2.Seconds == 0, 3600, o.Phase2.Seconds)
	if two > one {
		return o, awserr.New("InvalidParameterCombination", "Phase2LifetimeSeconds must not be greater than Phase1LifetimeSeconds")
	}
	if o.Margin > two/2 {
		return o, errValue(strconv.Itoa(o.Margin), "RekeyMarginTimeSeconds")
	}
	if err := oneOf("DPDTimeoutAction", in.DPDTimeoutAction, "clear", "none", "restart"); err != nil {
		return o, err
	}
	if err := oneOf("StartupAction", in.StartupAction, "add", "start"); err != nil {
		return o, err
	}
	if in.DPDTimeoutAction != "" {
		o.DPDAction = in.DPDTimeoutAction
	}
	if in.StartupAction != "" {
		o.Startup = in.StartupAction
	}
	return readAlgorithms(in, o)
}

func readAlgorithms(in *shape.VpnTunnelOptionsSpecification, o resource.VPNTunnelOptions) (resource.VPNTunnelOptions, error) {
	ike := wordsOf(in.IKEVersions)
	for i, v := range ike {
		ike[i] = strings.ToLower(v)
	}
	err := cmp.Or(
		takeFrom(&o.Phase1.Encryption, "Phase1EncryptionAlgorithms", wordsOf(in.Phase1EncryptionAlgorithms), encryptions),
		takeFrom(&o.Phase2.Encryption, "Phase2EncryptionAlgorithms", wordsOf(in.Phase2EncryptionAlgorithms), encryptions),
		takeFrom(&o.Phase1.Integrity, "Phase1IntegrityAlgorithms", wordsOf(in.Phase1IntegrityAlgorithms), integrities),
		takeFrom(&o.Phase2.Integrity, "Phase2IntegrityAlgorithms", wordsOf(in.Phase2IntegrityAlgorithms), integrities),
		takeFrom(&o.Phase1.Groups, "Phase1DHGroupNumbers", numbersOf(in.Phase1DHGroupNumbers), phase1DH),
		takeFrom(&o.Phase2.Groups, "Phase2DHGroupNumbers", numbersOf(in.Phase2DHGroupNumbers), phase2DH),
		takeFrom(&o.Versions, "IKEVersions", ike, ikeVersions),
	)
	return o, err
}

// shapeTunnel shows a tunnel's options: those that were asked for.
func shapeTunnel(t *resource.VPNTunnel, psk string) shape.TunnelOption {
	o := &t.Options
	out := shape.TunnelOption{
		OutsideIpAddress: t.Outside, TunnelInsideCidr: t.Inside, PreSharedKey: psk,
		Phase1LifetimeSeconds: o.Phase1.Seconds, Phase2LifetimeSeconds: o.Phase2.Seconds, RekeyMarginTimeSeconds: o.Margin, ReplayWindowSize: o.Replay,
		DpdTimeoutSeconds: o.DPDTimeout, DpdTimeoutAction: o.DPDAction, StartupAction: o.Startup,
	}
	if o.Fuzz != nil {
		out.RekeyFuzzPercentage = *o.Fuzz
	}
	out.Phase1EncryptionAlgorithms = wrapped[shape.Phase1EncryptionAlgorithmsListValue](o.Phase1.Encryption)
	out.Phase2EncryptionAlgorithms = wrapped[shape.Phase2EncryptionAlgorithmsListValue](o.Phase2.Encryption)
	out.Phase1IntegrityAlgorithms = wrapped[shape.Phase1IntegrityAlgorithmsListValue](o.Phase1.Integrity)
	out.Phase2IntegrityAlgorithms = wrapped[shape.Phase2IntegrityAlgorithmsListValue](o.Phase2.Integrity)
	out.Phase1DHGroupNumbers = wrapped[shape.Phase1DHGroupNumbersListValue](o.Phase1.Groups)
	out.Phase2DHGroupNumbers = wrapped[shape.Phase2DHGroupNumbersListValue](o.Phase2.Groups)
	out.IkeVersions = wrapped[shape.IKEVersionsListValue](o.Versions)
	return out
}
