package netns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/network"
	"karri.dev/internal/vici"
)

// connection gives what charon must know of a tunnel, but for the secret. It takes no proposal that is not listed.
func connection(c network.VPNConnection, t network.VPNTunnel) vici.Section {
	version := "0"
	if len(t.Versions) == 1 {
		version = strconv.Itoa(t.Versions[0])
	}
	any4 := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	child := vici.Section{
		"mode": "tunnel", "esp_proposals": proposals(t.Phase2), "local_ts": []string{ts(c.Local, any4)}, "remote_ts": []string{ts(c.Remote, any4)},
		"dpd_action": dpdAction(t.DPDAction), "start_action": "none", "close_action": "none",
		"replay_window": strconv.Itoa(t.Replay),
	}
	lifetime(child, t.Phase2.Seconds, "life_time", t)
	conn := vici.Section{
		"version": version, "local_addrs": []string{t.Public.String()}, "remote_addrs": []string{c.Customer.String()},
		"proposals": proposals(t.Phase1), "encap": "yes", "mobike": "no", "unique": "replace",
		"dpd_delay": strconv.Itoa(max(1, t.DPDTimeout/3)) + "s", "dpd_timeout": strconv.Itoa(t.DPDTimeout) + "s", "keyingtries": "1",
		"local-1": vici.Section{"auth": "psk", "id": t.Public.String()}, "remote-1": vici.Section{"auth": "psk"},
		"children": vici.Section{"tun": child},
	}
	if t.Start {
		child["start_action"], child["close_action"], conn["keyingtries"] = "start", "start", "0"
	}
	lifetime(conn, t.Phase1.Seconds, "over_time", t)
	return conn
}

// lifetime says when a phase is renewed and when it ends at the latest.
func lifetime(s vici.Section, seconds int, end string, t network.VPNTunnel) {
	margin := min(t.Margin, seconds/2)
	s["rekey_time"] = strconv.Itoa(seconds-margin) + "s"
	s["rand_time"] = strconv.Itoa(margin*t.Fuzz/100) + "s"
	if s[end] = strconv.Itoa(seconds) + "s"; end == "over_time" {
		s[end] = strconv.Itoa(margin) + "s"
	}
}

func ts(p, otherwise netip.Prefix) string {
	if !p.IsValid() {
		p = otherwise
	}
	return p.Masked().String()
}

func dpdAction(aws string) string {
	switch aws {
	case "restart":
		return "start"
	case "none":
		return "none"
	}
	return "clear"
}

// groupNames are strongSwan's names of Diffie-Hellman groups, by number.
var groupNames = map[int]string{
	2: "modp1024", 5: "modp1536", 14: "modp2048", 15: "modp3072", 16: "modp4096", 17: "modp6144", 18: "modp8192", 19: "ecp256", 20: "ecp384", 21: "ecp521",
	22: "modp1024s160", 23: "modp2048s224", 24: "modp2048s256",
}

// proposals gives a phase's choices in strongSwan's words: an authenticating cipher needs a pseudo-random function in
// the place of an integrity algorithm, and so is a proposal apart.
func proposals(p network.Phase) []string {
	var out []string
	var groups, hashes, prfs []string
	for _, g := range p.Groups {
		groups = append(groups, groupNames[g])
	}
	for _, h := range p.Integrity {
		name := strings.ToLower(strings.ReplaceAll(strings.Replace(h, "SHA2-", "SHA", 1), "-", ""))
		hashes, prfs = append(hashes, name), append(prfs, "prf"+name)
	}
	groups = slices.DeleteFunc(groups, func(s string) bool { return s == "" })
	for _, e := range p.Encryption {
		words := []string{strings.ToLower(e)}
		if bits, ok := strings.CutSuffix(e, "-GCM-16"); ok {
			words = append([]string{strings.ToLower(bits) + "gcm16"}, prfs...)
		} else {
			words = append(words, hashes...)
		}
		out = append(out, strings.Join(append(words, groups...), "-"))
	}
	return out
}
