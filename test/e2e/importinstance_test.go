package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// importInstance is a client of ImportInstance: the aws command has none.
const importInstance = `
import boto3, os, sys
ec2 = boto3.client("ec2", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
disks = [{"Image": {"Format": "RAW", "Bytes": int(n), "ImportManifestUrl": url}, "Volume": {"Size": 1}} for url, n in zip(sys.argv[1::2], sys.argv[2::2])]
task = ec2.import_instance(Platform="Linux", Description="by boto3", DiskImages=disks, LaunchSpecification={
    "InstanceType": "t3.nano", "UserData": {"Data": "IyEvYmluL3NoCmVjaG8gInNlY29uZCBkaXNrOiAkKGhlYWQgLWMgNiAvZGV2L3ZkYikiCg=="}})["ConversionTask"]
print(task["ConversionTaskId"], task["ImportInstance"]["InstanceId"])
`

// TestImportInstance: two disks in parts, of which one comes late, become an instance, as boto3 asks.
func TestImportInstance(t *testing.T) {
	c := newCloudWith(t, "--import-root-device", "ebs")
	dir := t.TempDir()
	second := filepath.Join(dir, "second")
	if err := os.WriteFile(second, append([]byte("second"), make([]byte, 1<<20-6)...), 0o600); err != nil {
		t.Fatal(err)
	}
	c.aws("s3", "mb", "s3://disks")
	args := []string{"-c", importInstance}
	for name, file := range map[string]string{"root": shared.tiny, "second": second} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		manifest := filepath.Join(dir, name+".manifest.xml")
		doc := fmt.Sprintf(`<manifest><version>2010-11-15</version><file-format>RAW</file-format><importer><name>e2e</name></importer><import><size>%d</size>`+
			`<volume-size>1</volume-size><parts count="1"><part index="0"><byte-range start="0" end="%d"/><key>%s.part0</key></part></parts></import></manifest>`,
			info.Size(), info.Size()-1, name)
		if err := os.WriteFile(manifest, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		c.aws("s3", "cp", "--no-progress", manifest, "s3://disks/"+name)
		disk := []string{c.url + "/disks/" + name, fmt.Sprint(info.Size())}
		if name == "root" { // the first disk, whichever comes first here
			args = append(args[:2:2], append(disk, args[2:]...)...)
		} else {
			args = append(args, disk...)
		}
	}
	c.aws("s3", "cp", "--no-progress", shared.tiny, "s3://disks/root.part0")
	cmd := c.ns.command(t.Context(), "/usr/bin/python3", args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("import_instance: %v\n%s", err, out)
	}
	task, id, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	state := func() string {
		return c.text("ConversionTasks[0].[State,StatusMessage]", "describe-conversion-tasks", "--conversion-task-ids", task)
	}
	eventually(t, "the second disk is waited for", time.Minute, func() bool { return strings.Contains(state(), "second.part0 is not there") })
	c.aws("s3", "cp", "--no-progress", second, "s3://disks/second.part0")
	eventually(t, "the instance is imported", 2*time.Minute, func() bool {
		s := state()
		if strings.HasPrefix(s, "cancelled") {
			t.Fatal(s)
		}
		return strings.HasPrefix(s, "completed")
	})
	if i := c.describe(id)[0]; i.State.Name != "stopped" || i.Root != "ebs" {
		t.Errorf("%+v", i)
	}
	c.aws("ec2", "start-instances", "--instance-ids", id)
	eventually(t, "the guest sees both disks", 3*time.Minute, func() bool {
		return strings.Contains(c.text("Output", "get-console-output", "--latest", "--instance-id", id), "second disk: second")
	})
	c.terminate(id)
}
