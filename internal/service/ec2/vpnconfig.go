package ec2

import (
	"bytes"
	"encoding/xml"
	"net/netip"
	"strconv"
	"strings"

	"karri.dev/internal/resource"
)

// The customer gateway's configuration, in the form that AWS gives it: programs of customers read it.

type configAddress struct {
	IP   string `xml:"ip_address"`
	Mask string `xml:"network_mask,omitempty"`
	Bits string `xml:"network_cidr,omitempty"`
}

type configEnd struct {
	Outside configAddress `xml:"tunnel_outside_address"`
	Inside  configAddress `xml:"tunnel_inside_address"`
	BGP     *configBGP    `xml:"bgp"`
}

type configBGP struct {
	ASN  int64 `xml:"asn"`
	Hold int   `xml:"hold_time"`
}

type configPhase struct {
	Protocol       string `xml:"protocol,omitempty"`
	Authentication string `xml:"authentication_protocol"`
	Encryption     string `xml:"encryption_protocol"`
	Lifetime       int    `xml:"lifetime"`
	Secrecy        string `xml:"perfect_forward_secrecy"`
	Mode           string `xml:"mode"`
	PSK            string `xml:"pre_shared_key,omitempty"`

	ClearDF  string     `xml:"clear_df_bit,omitempty"`
	Fragment string     `xml:"fragmentation_before_encryption,omitempty"`
	MSS      int        `xml:"tcp_mss_adjustment,omitempty"`
	DPD      *configDPD `xml:"dead_peer_detection"`
}

type configDPD struct {
	Interval int `xml:"interval"`
	Retries  int `xml:"retries"`
}

type configTunnel struct {
	Customer configEnd   `xml:"customer_gateway"`
	Gateway  configEnd   `xml:"vpn_gateway"`
	IKE      configPhase `xml:"ike"`
	IPsec    configPhase `xml:"ipsec"`
}

type configuration struct {
	XMLName    xml.Name       `xml:"vpn_connection"`
	ID         string         `xml:"id,attr"`
	Customer   string         `xml:"customer_gateway_id"`
	Gateway    string         `xml:"vpn_gateway_id"`
	Type       string         `xml:"vpn_connection_type"`
	Attributes string         `xml:"vpn_connection_attributes,omitempty"`
	Tunnels    []configTunnel `xml:"ipsec_tunnel"`
}

// tunnelMSS is what a TCP segment may be in a tunnel.
const tunnelMSS = 1360

// customerConfiguration gives the text; psks are the tunnels' secrets.
func customerConfiguration(c *resource.VPNConnection, customer *resource.CustomerGateway, g *resource.VPNGateway, psks []string) string {
	out := configuration{ID: c.ID, Customer: c.CustomerID, Gateway: c.GatewayID, Type: ipsec1, Attributes: "NoBGPVPNConnection"}
	var theirs, ours *configBGP
	if c.BGP && g != nil {
		out.Attributes, theirs, ours = "", &configBGP{customer.ASN, 30}, &configBGP{g.ASN, 30}
	}
	for i := range c.Tunnels {
		t := &c.Tunnels[i]
		first := netip.MustParsePrefix(t.Inside).Addr().Next()
		inside := func(a netip.Addr) configAddress {
			return configAddress{IP: a.String(), Mask: "255.255.255.252", Bits: "30"}
		}
		timeout := choose(t.Options.DPDTimeout == 0, 30, t.Options.DPDTimeout)
		ike := phaseConfig(t.Options.Phase1, 28800)
		ike.Mode, ike.PSK = "main", psks[i]
		esp := phaseConfig(t.Options.Phase2, 3600)
		esp.Protocol, esp.Mode, esp.ClearDF, esp.Fragment, esp.MSS, esp.DPD = "esp", "tunnel", "true", "true", tunnelMSS, &configDPD{timeout / 3, 3}
		if !strings.Contains(esp.Encryption, "gcm") {
			esp.Authentication = "hmac-" + esp.Authentication + choose(esp.Authentication == "sha1", "-96", "")
		}
		out.Tunnels = append(out.Tunnels, configTunnel{
			Customer: configEnd{configAddress{IP: customer.IP}, inside(first.Next()), theirs}, Gateway: configEnd{configAddress{IP: t.Outside}, inside(first), ours}, IKE: ike, IPsec: esp,
		})
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return "" // strings and numbers do not fail
	}
	return b.String()
}

// phaseConfig proposes the first of what a phase allows.
func phaseConfig(p resource.VPNPhase, seconds int) configPhase {
	out := configPhase{Authentication: "sha1", Encryption: "aes-128-cbc", Lifetime: choose(p.Seconds == 0, seconds, p.Seconds), Secrecy: "group2"}
	if len(p.Groups) > 0 {
		out.Secrecy = "group" + strconv.Itoa(p.Groups[0])
	}
	if len(p.Integrity) > 0 {
		out.Authentication = strings.ToLower(strings.Replace(p.Integrity[0], "SHA2-", "sha2-", 1))
	}
	if len(p.Encryption) > 0 {
		name, gcm := strings.CutSuffix(p.Encryption[0], "-GCM-16")
		out.Encryption = "aes-" + strings.TrimPrefix(name, "AES") + choose(gcm, "-gcm-16", "-cbc")
	}
	return out
}
