package check

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	staticIfupdown = regexp.MustCompile(`(?m)^\s*iface\s+(\S+)\s+inet\s+static`)
	dhcpIfupdown   = regexp.MustCompile(`(?m)^\s*iface\s+(\S+)\s+inet\s+dhcp`)
	netplanStatic  = regexp.MustCompile(`(?m)^\s*addresses:`)
	netplanDHCP    = regexp.MustCompile(`(?m)^\s*dhcp4:\s*(true|yes|on)`)
	netplanName    = regexp.MustCompile(`(?m)^\s+((?:en|eth)[a-z0-9]+):\s*$`)
	netplanMatch   = regexp.MustCompile(`(?m)^\s*(name|driver):\s*`)
	persistentNet  = regexp.MustCompile(`(?m)^\s*SUBSYSTEM==.*NAME[:=]*=`)
)

// checkNetwork sees that the first card, whatever it is called, gets its address by DHCP.
func (r *Report) checkNetwork() {
	f := r.facts
	for _, name := range f.below("etc/udev/rules.d") {
		if strings.Contains(path.Base(name), "persistent-net") && persistentNet.Match(f.files[name]) {
			r.found(Error, "persistent-net-rules", fmt.Sprintf("/%s ties the network's name to the old machine's card", name),
				"Delete the file", func(c *changes) { c.remove(name) })
		}
	}
	switch {
	case f.cloud && f.cloudNetwork():
		return // cloud-init writes the configuration at the first start
	case len(f.below("etc/netplan")) > 0 && f.program("netplan"):
		r.checkNetplan()
	case len(f.ifcfg()) > 0:
		r.checkIfcfg()
	case f.files["etc/network/interfaces"] != nil && f.program("ifup"):
		r.checkIfupdown()
	case len(f.named("etc/NetworkManager")) > 0 && f.program("NetworkManager"):
		r.checkNetworkManager()
	default:
		r.checkNetworkd()
	}
}

// cloudNetwork says whether cloud-init is left to set the network up.
func (f *facts) cloudNetwork() bool {
	for _, name := range append(f.below("etc/cloud/cloud.cfg.d"), "etc/cloud/cloud.cfg") {
		text := strings.Join(strings.Fields(string(f.files[name])), "")
		if strings.Contains(text, "network:{config:disabled}") || strings.Contains(text, "network:config:disabled") {
			return false
		}
	}
	return !f.names["etc/cloud/cloud-init.disabled"]
}

// dhcp is the remedy for all of them.
func dhcp(file string) string {
	return "Let every Ethernet card take its address by DHCP in " + file
}

func (r *Report) static(file, what string, fix func(*changes)) {
	r.found(Error, "static-address", fmt.Sprintf("/%s %s: the network here gives addresses by DHCP", file, what), dhcp("/"+file), fix)
}

func (r *Report) oldName(file, card string, fix func(*changes)) {
	r.found(Error, "card-name", fmt.Sprintf("/%s is for a card called %s: cards have other names here", file, card), dhcp("/"+file), fix)
}

// firstCard is what cards are called after net.ifnames=0.
const firstCard = "eth0"

func (r *Report) checkIfupdown() {
	f := r.facts
	var text strings.Builder
	files := append([]string{"etc/network/interfaces"}, f.below("etc/network/interfaces.d")...)
	for _, name := range files {
		text.Write(f.files[name])
		text.WriteByte('\n')
	}
	fix := func(c *changes) {
		for _, name := range files[1:] {
			c.remove(name)
		}
		c.write(files[0], 0o644, "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n")
		c.kernelOption("net.ifnames=0")
	}
	if m := staticIfupdown.FindStringSubmatch(text.String()); m != nil {
		r.static(files[0], "gives "+m[1]+" a fixed address", fix)
		return
	}
	cards := dhcpIfupdown.FindAllStringSubmatch(text.String(), -1)
	if len(cards) == 0 {
		r.found(Error, "no-network", "/etc/network/interfaces sets up no network card", dhcp("/"+files[0]), fix)
		return
	}
	if card := cards[0][1]; card != firstCard || !f.oldNames() {
		r.oldName(files[0], card, fix)
	}
}

// oldNames says whether cards are called eth0 and so on.
func (f *facts) oldNames() bool {
	for _, name := range f.loaderFiles() {
		for _, line := range kernelLine.FindAllString(string(f.files[name]), -1) {
			if strings.Contains(line, "net.ifnames=0") {
				return true
			}
		}
	}
	// Systems from before predictable names have no systemd.
	return !f.names["usr/lib/systemd/systemd"] && !f.names["lib/systemd/systemd"]
}

func (f *facts) ifcfg() []string {
	return slices.DeleteFunc(f.below("etc/sysconfig/network-scripts"), func(n string) bool {
		return !strings.HasPrefix(path.Base(n), "ifcfg-") || path.Base(n) == "ifcfg-lo"
	})
}

func (r *Report) checkIfcfg() {
	f := r.facts
	files := f.ifcfg()
	fix := func(c *changes) {
		for _, name := range files {
			c.remove(name)
		}
		c.write("etc/sysconfig/network-scripts/ifcfg-eth0", 0o644, "DEVICE=eth0\nTYPE=Ethernet\nBOOTPROTO=dhcp\nONBOOT=yes\nPERSISTENT_DHCLIENT=yes\n")
		c.kernelOption("net.ifnames=0")
	}
	good := false
	for _, name := range files {
		set := map[string]string{}
		for line := range strings.Lines(string(f.files[name])) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				set[k] = strings.ToLower(strings.Trim(v, `"'`))
			}
		}
		switch {
		case set["ONBOOT"] == "no":
		case set["IPADDR"] != "" || set["IPADDR0"] != "" || set["BOOTPROTO"] == "static" || set["BOOTPROTO"] == "none":
			r.static(name, "gives a fixed address", fix)
			return
		case set["HWADDR"] != "":
			r.found(Error, "card-address", fmt.Sprintf("/%s is for the card with the address %s only", name, set["HWADDR"]), "Take HWADDR out", fix)
			return
		case set["DEVICE"] != firstCard || !f.oldNames():
			r.oldName(name, set["DEVICE"], fix)
			return
		default:
			good = true
		}
	}
	if !good {
		r.found(Error, "no-network", "No network card is set up at boot (ONBOOT=no)", "ONBOOT=yes and BOOTPROTO=dhcp in ifcfg-eth0", fix)
	}
}

func (r *Report) checkNetplan() {
	f := r.facts
	files := f.below("etc/netplan")
	fix := func(c *changes) {
		for _, name := range files {
			c.remove(name)
		}
		c.write("etc/netplan/50-karri.yaml", 0o600, "network:\n  version: 2\n  ethernets:\n    all:\n      match:\n        name: \"e*\"\n      dhcp4: true\n")
	}
	any := false
	for _, name := range files {
		text := string(f.files[name])
		card := netplanName.FindStringSubmatch(text)
		switch {
		case netplanStatic.MatchString(text) && !netplanDHCP.MatchString(text):
			r.static(name, "gives a fixed address", fix)
			return
		case strings.Contains(text, "macaddress:"):
			r.found(Error, "card-address", fmt.Sprintf("/%s is for one card's address only", name), dhcp("/"+name), fix)
			return
		case card != nil && !netplanMatch.MatchString(text):
			r.oldName(name, card[1], fix)
			return
		case netplanDHCP.MatchString(text):
			any = true
		}
	}
	if !any {
		r.found(Error, "no-network", "netplan sets up no network card by DHCP", dhcp("/etc/netplan"), fix)
	}
}

func (r *Report) checkNetworkManager() {
	f := r.facts
	files := f.below("etc/NetworkManager/system-connections")
	fix := func(c *changes) { // without profiles it asks every card's network by DHCP
		for _, name := range files {
			c.remove(name)
		}
		for _, name := range f.below("etc/NetworkManager/conf.d") {
			if strings.Contains(string(f.files[name]), "no-auto-default") {
				c.remove(name)
			}
		}
	}
	for _, name := range files {
		text := string(f.files[name])
		switch {
		case !strings.Contains(text, "type=ethernet"):
		case strings.Contains(text, "method=manual"):
			r.static(name, "gives a fixed address", fix)
			return
		case strings.Contains(text, "interface-name="):
			_, rest, _ := strings.Cut(text, "interface-name=")
			card, _, _ := strings.Cut(rest, "\n")
			r.oldName(name, card, fix)
			return
		case strings.Contains(text, "mac-address="):
			r.found(Error, "card-address", fmt.Sprintf("/%s is for one card's address only", name), dhcp("/"+name), fix)
			return
		}
	}
}

func (r *Report) checkNetworkd() {
	f := r.facts
	fix := func(c *changes) {
		for _, name := range f.below("etc/systemd/network") {
			c.remove(name)
		}
		c.write("etc/systemd/network/50-karri.network", 0o644, "[Match]\nName=e*\n\n[Network]\nDHCP=ipv4\n")
		c.run("systemctl enable systemd-networkd.service")
	}
	if !f.program("networkctl") {
		fix = nil
	}
	any := false
	for _, name := range f.below("etc/systemd/network") {
		text := string(f.files[name])
		if path.Ext(name) != ".network" {
			continue
		}
		switch {
		case strings.Contains(text, "\nAddress="):
			r.static(name, "gives a fixed address", fix)
			return
		case strings.Contains(text, "\nMACAddress="):
			r.found(Error, "card-address", fmt.Sprintf("/%s is for one card's address only", name), dhcp("/"+name), fix)
			return
		}
		any = any || strings.Contains(text, "DHCP=")
	}
	if !any {
		r.found(Error, "no-network", "Nothing sets the network up: neither cloud-init, netplan, ifupdown, NetworkManager nor networkd is configured",
			"Install cloud-init, or configure DHCP for all Ethernet cards", fix)
	}
}
