package check

import (
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

//go:embed agent.sh
var agent string

const agentUnit = `[Unit]
Description=Key and user data of the launch
After=network-online.target
Wants=network-online.target
Before=ssh.service sshd.service

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/karri-agent
StandardOutput=journal+console

[Install]
WantedBy=multi-user.target
`

// starts says whether a service is begun at boot, by systemd or by links of runlevels.
func (f *facts) starts(services ...string) bool {
	for name := range f.names {
		dir, base := path.Split(name)
		for _, s := range services {
			if strings.HasPrefix(dir, "etc/systemd/system/") && strings.HasSuffix(dir, ".wants/") && (base == s+".service" || base == s+".socket") {
				return true
			}
			if sysv.MatchString(name) && strings.HasSuffix(base, s) && len(base) == len(s)+3 {
				return true
			}
		}
	}
	return false
}

var sysv = regexp.MustCompile(`^etc/rc[2-5]\.d/S[0-9][0-9]`)

// checkServices looks for what lets its user in.
func (r *Report) checkServices() {
	f := r.facts
	switch {
	case !f.program("sshd") && !f.program("dropbear"):
		r.found(Error, "no-ssh-server", "There is no SSH server", "Install openssh-server on the machine that it comes from", nil)
	case !f.starts("ssh", "sshd", "dropbear"):
		r.found(Error, "ssh-not-started", "The SSH server is not started at boot", "systemctl enable ssh (or sshd)", func(c *changes) {
			c.run("systemctl enable ssh.service || systemctl enable sshd.service || chkconfig sshd on || update-rc.d ssh defaults")
		})
	}
	r.checkCloudInit()
	r.checkTarget()
	for _, tools := range []string{"vmtoolsd", "VBoxService", "hv_kvp_daemon"} {
		if f.program(tools) {
			r.found(Note, "foreign-tools", fmt.Sprintf("The tools of another hypervisor are installed (%s)", tools), "They do nothing here: remove them when it suits you", nil)
		}
	}
}

func (r *Report) checkCloudInit() {
	f := r.facts
	if f.names["etc/systemd/system/multi-user.target.wants/karri-agent.service"] {
		return
	}
	if !f.cloud {
		r.found(Warning, "no-agent", "Nothing takes the launch's key and user data: neither cloud-init nor Karri's agent is there",
			"Install cloud-init; `karri image prepare` puts a small agent in its place", func(c *changes) {
				c.write("usr/local/sbin/karri-agent", 0o755, agent)
				if f.names["usr/lib/systemd/systemd"] || f.names["lib/systemd/systemd"] {
					c.write("etc/systemd/system/karri-agent.service", 0o644, agentUnit)
					c.run("systemctl enable karri-agent.service")
				} else {
					c.run("if [ -f /etc/rc.local ]; then sed -i '/^exit 0/d' /etc/rc.local; else echo '#!/bin/sh' >/etc/rc.local; chmod +x /etc/rc.local; fi; echo /usr/local/sbin/karri-agent >>/etc/rc.local")
				}
			})
		return
	}
	if f.names["etc/cloud/cloud-init.disabled"] {
		r.found(Error, "cloud-init-disabled", "cloud-init is switched off by /etc/cloud/cloud-init.disabled", "Delete that file", func(c *changes) { c.remove("etc/cloud/cloud-init.disabled") })
	}
	list := ""
	for _, name := range append([]string{"etc/cloud/cloud.cfg"}, f.below("etc/cloud/cloud.cfg.d")...) { // the last one counts
		if m := datasources.FindStringSubmatch(string(f.files[name])); m != nil {
			list = strings.Join(strings.Fields(m[1]), " ")
		}
	}
	if list != "" && !strings.Contains(list, "Ec2") {
		r.found(Error, "cloud-init-datasource", fmt.Sprintf("cloud-init does not ask EC2's metadata service (datasource_list: %.100s)", list),
			"Put Ec2 into datasource_list below /etc/cloud", func(c *changes) {
				c.write("etc/cloud/cloud.cfg.d/99-karri.cfg", 0o644, "datasource_list: [ Ec2, None ]\n")
			})
	}
}

// datasources reads the list in either of YAML's ways of writing one.
var datasources = regexp.MustCompile(`(?m)^datasource_list:\s*(\[[^\]]*\]|(?:\n\s*-\s*\S+)+)`)

func (r *Report) checkTarget() {
	f := r.facts
	multi := func(c *changes) { c.run("systemctl set-default multi-user.target") }
	switch path.Base(f.target) {
	case "rescue.target", "emergency.target", "poweroff.target", "reboot.target", "halt.target":
		r.found(Error, "target", "The system starts into "+path.Base(f.target), "systemctl set-default multi-user.target", multi)
	case "graphical.target":
		r.found(Note, "target", "The system starts a graphical desktop, which nobody sees", "systemctl set-default multi-user.target saves memory", multi)
	}
	if m := regexp.MustCompile(`(?m)^id:([0-9sS]):initdefault:`).FindSubmatch(f.files["etc/inittab"]); m != nil && strings.Contains("0s1S6", string(m[1])) {
		r.found(Error, "runlevel", fmt.Sprintf("/etc/inittab starts the system in runlevel %s: without network and SSH", m[1]), "id:3:initdefault: (Debian: 2)", func(c *changes) {
			c.edit("etc/inittab", func(s string) string { return strings.Replace(s, string(m[0]), "id:3:initdefault:", 1) })
		})
	}
}

// checkIdentity looks for what one machine has for itself alone, and all instances would share.
func (r *Report) checkIdentity() {
	f := r.facts
	if id := strings.TrimSpace(string(f.files["etc/machine-id"])); id != "" && id != "uninitialized" {
		r.found(Warning, "machine-id", "The image has a machine id: all its instances would share it", "Empty /etc/machine-id", func(c *changes) { c.write("etc/machine-id", 0o444, "") })
	}
	keys := slices.DeleteFunc(f.named("etc/ssh"), func(n string) bool { return !strings.HasPrefix(n, "ssh_host_") })
	if len(keys) > 0 {
		r.found(Warning, "host-keys", "The image has SSH host keys: whoever has the image can pretend to be its instances", "Delete /etc/ssh/ssh_host_*: cloud-init, or the agent, makes new ones", func(c *changes) {
			for _, k := range keys {
				c.remove("etc/ssh/" + k)
			}
		})
	}
}
