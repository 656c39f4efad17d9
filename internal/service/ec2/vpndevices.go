package ec2

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// vpnDevice is a kind of device on a customer's side, with a text that sets one up.
type vpnDevice struct {
	shape.VpnConnectionDeviceType
	sample *template.Template
}

// sampleData is what a sample says: the connection's configuration, and what it has of its own.
type sampleData struct {
	configuration
	IKE     string // "1" or "2"
	Local   string // the customer's range
	Remote  string // the cloud's
	Routing string
}

// dhNames are strongSwan's names of Diffie-Hellman groups.
var dhNames = map[string]string{
	"group2": "modp1024", "group5": "modp1536", "group14": "modp2048", "group15": "modp3072", "group16": "modp4096", "group17": "modp6144", "group18": "modp8192",
	"group19": "ecp256", "group20": "ecp384", "group21": "ecp521", "group22": "modp1024s160", "group23": "modp2048s224", "group24": "modp2048s256",
}

// proposal writes a phase as strongSwan reads it.
func (p configPhase) proposal() string {
	cipher := strings.TrimSuffix(strings.Replace(p.Encryption, "aes-", "aes", 1), "-cbc")
	hash := strings.NewReplacer("hmac-", "", "-96", "", "sha2-", "sha").Replace(p.Authentication)
	if gcm, ok := strings.CutSuffix(cipher, "-gcm-16"); ok {
		cipher = gcm + "gcm16"
		if p.Protocol == "esp" {
			return cipher + "-" + dhNames[p.Secrecy]
		}
		hash = "prf" + hash
	}
	return cipher + "-" + hash + "-" + dhNames[p.Secrecy]
}

// vpnDevices are those that there are samples for, in order of id.
var vpnDevices = func() []vpnDevice {
	device := func(id, vendor, platform, software, text string) vpnDevice {
		functions := template.FuncMap{"number": func(i int) int { return i + 1 }, "proposal": configPhase.proposal}
		return vpnDevice{
			shape.VpnConnectionDeviceType{VpnConnectionDeviceTypeId: id, Vendor: vendor, Platform: platform, Software: software},
			template.Must(template.New(id).Funcs(functions).Parse(text)),
		}
	}
	return []vpnDevice{
		device("9005b6c1", "Generic", "Generic", "Vendor Agnostic", genericSample),
		device("a3d1f8e2", "strongSwan", "Debian GNU/Linux", "swanctl 5.9+", swanctlSample),
	}
}()

const genericSample = `VPN connection {{.ID}}: customer gateway {{.Customer}}, virtual private gateway {{.Gateway}}
Routing: {{.Routing}}
Traffic that may pass: {{.Local}} on your side, {{.Remote}} on the cloud's
{{range $i, $t := .Tunnels}}
Tunnel {{number $i}}
  Outside addresses     {{$t.Customer.Outside.IP}} (your device), {{$t.Gateway.Outside.IP}} (the gateway)
  Inside addresses      {{$t.Customer.Inside.IP}}/30 (your device), {{$t.Gateway.Inside.IP}}/30 (the gateway)
{{- if $t.Gateway.BGP}}
  BGP                   AS {{$t.Customer.BGP.ASN}} (your device), AS {{$t.Gateway.BGP.ASN}} (the gateway), hold time {{$t.Gateway.BGP.Hold}} s
{{- end}}
  IKE                   version {{$.IKE}}, {{$t.IKE.Encryption}}, {{$t.IKE.Authentication}}, {{$t.IKE.Secrecy}}, lifetime {{$t.IKE.Lifetime}} s
  Pre-shared key        {{$t.IKE.PSK}}
  IPsec                 ESP in UDP (NAT traversal), tunnel mode, {{$t.IPsec.Encryption}}, {{$t.IPsec.Authentication}}, {{$t.IPsec.Secrecy}}, lifetime {{$t.IPsec.Lifetime}} s
  Dead peer detection   every {{$t.IPsec.DPD.Interval}} s, {{$t.IPsec.DPD.Retries}} times
  TCP segments          at most {{$t.IPsec.MSS}} bytes
{{end}}`

const swanctlSample = `# VPN connection {{.ID}}: /etc/swanctl/conf.d/{{.ID}}.conf
# Routing: {{.Routing}}. Lead only what is the cloud's into the tunnels.
connections {
{{- range $i, $t := .Tunnels}}
  cloud{{number $i}} {
    version = {{$.IKE}}
    local_addrs = {{$t.Customer.Outside.IP}}
    remote_addrs = {{$t.Gateway.Outside.IP}}
    encap = yes
    mobike = no
    proposals = {{proposal $t.IKE}}
    rekey_time = {{$t.IKE.Lifetime}}s
    dpd_delay = {{$t.IPsec.DPD.Interval}}s
    local {
      auth = psk
      id = {{$t.Customer.Outside.IP}}
    }
    remote {
      auth = psk
      id = {{$t.Gateway.Outside.IP}}
    }
    children {
      tunnel{{number $i}} {
        local_ts = {{$.Local}}
        remote_ts = {{$.Remote}}
        esp_proposals = {{proposal $t.IPsec}}
        rekey_time = {{$t.IPsec.Lifetime}}s
        dpd_action = restart
      }
    }
  }
{{- end}}
}
secrets {
{{- range $i, $t := .Tunnels}}
  ike-{{number $i}} {
    id = {{$t.Gateway.Outside.IP}}
    secret = "{{$t.IKE.PSK}}"
  }
{{- end}}
}
`

// GetVpnConnectionDeviceTypes lists the devices that there are sample configurations for.
func (s *Service) GetVpnConnectionDeviceTypes(ctx context.Context, in *shape.GetVpnConnectionDeviceTypesRequest) (*shape.GetVpnConnectionDeviceTypesResult, error) {
	info, _, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	limit, start, err := s.page(info, "GetVpnConnectionDeviceTypes", in.MaxResults, in.NextToken, 1)
	if err != nil {
		return nil, err
	}
	var all []shape.VpnConnectionDeviceType
	for _, d := range vpnDevices {
		if d.VpnConnectionDeviceTypeId >= start {
			all = append(all, d.VpnConnectionDeviceType)
		}
	}
	all, next, err := cut(s, info, "GetVpnConnectionDeviceTypes", all, limit, func(d shape.VpnConnectionDeviceType) string { return d.VpnConnectionDeviceTypeId })
	if err != nil {
		return nil, err
	}
	return &shape.GetVpnConnectionDeviceTypesResult{VpnConnectionDeviceTypes: all, NextToken: next}, nil
}

// GetVpnConnectionDeviceSampleConfiguration gives a text that sets up a device on the customer's side of a connection. It
// holds the tunnels' secrets.
func (s *Service) GetVpnConnectionDeviceSampleConfiguration(ctx context.Context, in *shape.GetVpnConnectionDeviceSampleConfigurationRequest) (*shape.GetVpnConnectionDeviceSampleConfigurationResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.VpnConnectionDeviceTypeId == "" {
		return nil, errMissing("vpnConnectionDeviceTypeId")
	}
	if err := oneOf("internetKeyExchangeVersion", in.InternetKeyExchangeVersion, "ikev1", "ikev2"); err != nil {
		return nil, err
	}
	c, err := vpnConnection(r, info, in.VpnConnectionId)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(vpnDevices, func(d vpnDevice) bool { return d.VpnConnectionDeviceTypeId == in.VpnConnectionDeviceTypeId })
	if at < 0 {
		return nil, awserr.New("InvalidVpnConnectionDeviceTypeId.NotFound", "The vpnConnectionDeviceType ID '%s' does not exist", in.VpnConnectionDeviceTypeId)
	}
	version := cmp.Or(in.InternetKeyExchangeVersion, "ikev2")
	for _, t := range c.Tunnels {
		if v := t.Options.Versions; len(v) > 0 && !slices.Contains(v, version) {
			return nil, errCombination("The VPN connection '%s' does not allow %s.", c.ID, version)
		}
	}
	shown := s.shapeVPN(r, c)
	data := sampleData{
		IKE: strings.TrimPrefix(version, "ikev"), Local: shown.Options.LocalIpv4NetworkCidr, Remote: shown.Options.RemoteIpv4NetworkCidr,
		Routing: choose(c.BGP, "BGP", "static: "+strings.Join(c.Routes, ", ")),
	}
	if err := xml.Unmarshal([]byte(shown.CustomerGatewayConfiguration), &data.configuration); err != nil {
		return nil, fmt.Errorf("the configuration of %s: %w", c.ID, err)
	}
	var text strings.Builder
	if err := vpnDevices[at].sample.Execute(&text, data); err != nil {
		return nil, fmt.Errorf("the sample for %s: %w", c.ID, err)
	}
	return &shape.GetVpnConnectionDeviceSampleConfigurationResult{VpnConnectionDeviceSampleConfiguration: text.String()}, nil
}

// ModifyVpnConnectionOptions changes which traffic may pass a connection; its tunnels go down for it.
func (s *Service) ModifyVpnConnectionOptions(ctx context.Context, in *shape.ModifyVpnConnectionOptionsRequest) (*shape.ModifyVpnConnectionOptionsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.LocalIpv4NetworkCidr == "" && in.RemoteIpv4NetworkCidr == "" {
		return nil, errCombination("No options specified.")
	}
	var next resource.VPNConnection
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		c, err := vpnConnection(tx, info, in.VpnConnectionId)
		if err != nil {
			return err
		}
		if c.State != resource.VPNAvailable {
			return awserr.New("IncorrectState", "The VPN connection '%s' is in state '%s'.", c.ID, c.State)
		}
		next = *c
		if err := readSelectors(in.LocalIpv4NetworkCidr, in.RemoteIpv4NetworkCidr, &next.Customer, &next.Cloud); err != nil {
			return err
		}
		return store.VPNConnections.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out := s.shapeVPN(s.Store.Snapshot(), &next)
	return &shape.ModifyVpnConnectionOptionsResult{VpnConnection: &out}, nil
}
