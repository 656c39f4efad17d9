package daemon

import (
	"context"
	"fmt"
	"strings"

	"karri.dev/internal/resource"
	"karri.dev/internal/service/ec2"
	"karri.dev/internal/store"
)

// ImageDefaults are the kernel and ramdisk with which images that are file systems boot when they name none. In a
// request nil leaves one as it is, and "none" takes it away.
type ImageDefaults struct{ Kernel, Ramdisk *string }

// imageDefaults changes and shows them.
func (p *cloudProcess) imageDefaults(ctx context.Context, in ImageDefaults) (ImageDefaults, error) {
	var out ImageDefaults
	err := p.store.Update(ctx, func(tx *store.Tx) error {
		for _, d := range []struct {
			setting, kind string
			given         *string
			shown         **string
		}{{ec2.DefaultKernel, "kernel", in.Kernel, &out.Kernel}, {ec2.DefaultRamdisk, "ramdisk", in.Ramdisk, &out.Ramdisk}} {
			switch {
			case d.given == nil:
			case *d.given == "none":
				store.Settings.Delete(tx, d.setting)
			default:
				id := ec2.ImageID(*d.given)
				img := store.Images.Get(tx, id)
				switch {
				case img == nil || img.Kind != d.kind || img.State != resource.ImageAvailable:
					return fmt.Errorf("%s is no available %s image", *d.given, d.kind)
				case !img.Public:
					return fmt.Errorf("the %s %s is not public: aws ec2 modify-image-attribute --image-id %s --launch-permission 'Add=[{Group=all}]'", d.kind, id, id)
				}
				if err := store.Settings.Put(tx, &resource.Setting{Name: d.setting, Value: id}); err != nil {
					return err
				}
			}
			if set := store.Settings.Get(tx, d.setting); set != nil {
				id := strings.Trim(set.Value, `"`)
				*d.shown = &id
			}
		}
		return nil
	})
	return out, err
}
