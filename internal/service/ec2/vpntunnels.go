package ec2

import (
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

// choices gives the values of a list of structures with one member each, checked against those allowed.
func choices[T, V any](name string, list []T, value func(T) V, text func(V) string, allowed ...V) ([]V, error) {
	var out []V
	for _, item := range list {
		v := value(item)
		if !slices.ContainsFunc(allowed, func(a V) bool { return text(a) == text(v) }) {
			return nil, errValue(text(v), name)
		}
		if !slices.ContainsFunc(out, func(o V) bool { return text(o) == text(v) }) {
			out = append(out, v)
		}
	}
	return out, nil
}

func same(s string) string { return s }

var (
	encryptions = []string{"AES128", "AES256", "AES128-GCM-16", "AES256-GCM-16"}
	integrities = []string{"SHA1", "SHA2-256", "SHA2-384", "SHA2-512"}
	phase1DH    = []int{2, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}
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
	var errs [7]error
	words := func(i int, to *[]string, got []string, err error) {
		if errs[i] = err; len(got) > 0 {
			*to = got
		}
	}
	numbers := func(i int, to *[]int, got []int, err error) {
		if errs[i] = err; len(got) > 0 {
			*to = got
		}
	}
	e1, err := choices("Phase1EncryptionAlgorithms", in.Phase1EncryptionAlgorithms, func(v shape.Phase1EncryptionAlgorithmsRequestListValue) string { return v.Value }, same, encryptions...)
	words(0, &o.Phase1.Encryption, e1, err)
	e2, err := choices("Phase2EncryptionAlgorithms", in.Phase2EncryptionAlgorithms, func(v shape.Phase2EncryptionAlgorithmsRequestListValue) string { return v.Value }, same, encryptions...)
	words(1, &o.Phase2.Encryption, e2, err)
	i1, err := choices("Phase1IntegrityAlgorithms", in.Phase1IntegrityAlgorithms, func(v shape.Phase1IntegrityAlgorithmsRequestListValue) string { return v.Value }, same, integrities...)
	words(2, &o.Phase1.Integrity, i1, err)
	i2, err := choices("Phase2IntegrityAlgorithms", in.Phase2IntegrityAlgorithms, func(v shape.Phase2IntegrityAlgorithmsRequestListValue) string { return v.Value }, same, integrities...)
	words(3, &o.Phase2.Integrity, i2, err)
	g1, err := choices("Phase1DHGroupNumbers", in.Phase1DHGroupNumbers, func(v shape.Phase1DHGroupNumbersRequestListValue) int { return number(v.Value) }, strconv.Itoa, phase1DH...)
	numbers(4, &o.Phase1.Groups, g1, err)
	g2, err := choices("Phase2DHGroupNumbers", in.Phase2DHGroupNumbers, func(v shape.Phase2DHGroupNumbersRequestListValue) int { return number(v.Value) }, strconv.Itoa, phase2DH...)
	numbers(5, &o.Phase2.Groups, g2, err)
	v, err := choices("IKEVersions", in.IKEVersions, func(v shape.IKEVersionsRequestListValue) string { return strings.ToLower(v.Value) }, same, "ikev1", "ikev2")
	words(6, &o.Versions, v, err)
	for _, err := range errs {
		if err != nil {
			return o, err
		}
	}
	return o, nil
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
	for _, v := range o.Phase1.Encryption {
		out.Phase1EncryptionAlgorithms = append(out.Phase1EncryptionAlgorithms, shape.Phase1EncryptionAlgorithmsListValue{Value: v})
	}
	for _, v := range o.Phase2.Encryption {
		out.Phase2EncryptionAlgorithms = append(out.Phase2EncryptionAlgorithms, shape.Phase2EncryptionAlgorithmsListValue{Value: v})
	}
	for _, v := range o.Phase1.Integrity {
		out.Phase1IntegrityAlgorithms = append(out.Phase1IntegrityAlgorithms, shape.Phase1IntegrityAlgorithmsListValue{Value: v})
	}
	for _, v := range o.Phase2.Integrity {
		out.Phase2IntegrityAlgorithms = append(out.Phase2IntegrityAlgorithms, shape.Phase2IntegrityAlgorithmsListValue{Value: v})
	}
	for _, v := range o.Phase1.Groups {
		out.Phase1DHGroupNumbers = append(out.Phase1DHGroupNumbers, shape.Phase1DHGroupNumbersListValue{Value: v})
	}
	for _, v := range o.Phase2.Groups {
		out.Phase2DHGroupNumbers = append(out.Phase2DHGroupNumbers, shape.Phase2DHGroupNumbersListValue{Value: v})
	}
	for _, v := range o.Versions {
		out.IkeVersions = append(out.IkeVersions, shape.IKEVersionsListValue{Value: v})
	}
	return out
}
