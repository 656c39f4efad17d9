package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
	"karri.dev/internal/resource"
)

// withNetworks adds the commands on zones' networks.
func withNetworks(zone *cobra.Command) *cobra.Command {
	zone.AddCommand(zoneNetworkCommand())
	return zone
}

func zoneNetworkCommand() *cobra.Command {
	var dir, mode, list string
	var asJSON bool
	var n resource.ZoneNetwork
	c := &cobra.Command{
		Use:   "network [ZONE]",
		Short: "Show what network zones' guests get, or choose another",
		Long: `Show the zones' networks, or give a zone another one. Modes:

  VPC             VPCs, as AWS has them (the default)
  SYSTEM          the operator's network: a bridge on every node, addresses from its own DHCP server
  STATIC          the same, with addresses from a list of MAC and IP addresses

MANAGED-NOVLAN and MANAGED are not offered yet.

A zone's network changes only while no instance is in it.`,
		Example: `  karri zone network
  karri zone network us-east-1a --mode SYSTEM --bridge br0
  karri zone network us-east-1a --mode STATIC --bridge br0 --subnet 192.168.7.0/24 --router 192.168.7.1 --dns 192.168.7.1 --mac-list cards.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && mode != "" {
				n.Mode = resource.NetworkMode(strings.ToUpper(mode))
				if n.Mode == resource.ModeManaged && n.GroupAddresses == 0 {
					n.GroupAddresses = 32
				}
				if list != "" {
					f, err := os.Open(list)
					if err != nil {
						return err
					}
					defer f.Close()
					if n.MACs, err = readCards(f); err != nil {
						return fmt.Errorf("%s: %w", list, err)
					}
				}
				return admin.Call(c.Context(), dir, "zone-network-set", daemon.SetZoneNetwork{Zone: args[0], Network: n}, new(struct{}))
			}
			if mode == "" && c.Flags().NFlag() > 0 && (n.Bridge+n.Subnet+n.Router+n.Domain+list != "" || len(n.DNS) > 0 || n.GroupAddresses != 0) {
				return fmt.Errorf("--mode is missing")
			}
			if mode != "" {
				return fmt.Errorf("which zone?")
			}
			var out []daemon.ZoneInfo
			if err := admin.Call(c.Context(), dir, "zone-list", struct{}{}, &out); err != nil {
				return err
			}
			return showZones(c.OutOrStdout(), out, args, asJSON)
		},
	}
	dataDirFlag(c, &dir)
	f := c.Flags()
	f.StringVar(&mode, "mode", "", "VPC, SYSTEM or STATIC")
	f.StringVar(&n.Bridge, "bridge", "", "SYSTEM, STATIC: the bridge on every node's host (VNET_BRIDGE)")
	f.StringVar(&n.Subnet, "subnet", "", "STATIC: the operator's range; MANAGED-NOVLAN, MANAGED: the range for all guests (VNET_SUBNET, VNET_NETMASK)")
	f.StringVar(&n.Router, "router", "", "STATIC: the way out (VNET_ROUTER)")
	f.StringSliceVar(&n.DNS, "dns", nil, "STATIC: name servers (VNET_DNS)")
	f.StringVar(&n.Domain, "domain", "", "STATIC: the domain of names (VNET_DOMAINNAME)")
	f.StringVar(&list, "mac-list", "", "STATIC: a file of MAC=IP words (VNET_MACMAP)")
	f.IntVar(&n.GroupAddresses, "group-addresses", 0, "MANAGED: addresses of each security group, a power of two, 32 if not said (VNET_ADDRSPERNET)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// readCards reads words of the form MAC=IP, as VNET_MACMAP has them, in any number of lines. # begins a comment.
func readCards(r io.Reader) (out []resource.MACAddress, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		for _, word := range strings.Fields(text) {
			mac, ip, ok := strings.Cut(word, "=")
			if !ok {
				return nil, fmt.Errorf("%q is not MAC=IP", word)
			}
			out = append(out, resource.MACAddress{MAC: strings.ToLower(mac), IP: ip})
		}
	}
	return out, lines.Err()
}

func showZones(w io.Writer, list []daemon.ZoneInfo, only []string, asJSON bool) error {
	shown := []daemon.ZoneInfo{}
	for _, z := range list {
		if len(only) == 0 || only[0] == z.Name {
			shown = append(shown, z)
		}
	}
	if len(only) == 1 && len(shown) == 0 {
		return fmt.Errorf("there is no zone %q", only[0])
	}
	if asJSON {
		return printJSON(w, shown)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ZONE\tMODE\tBRIDGE\tSUBNET\tCARDS")
	for _, z := range shown {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\n", z.Name, z.Network.Mode, z.Network.Bridge, z.Network.Subnet, len(z.Network.MACs))
	}
	return t.Flush()
}
