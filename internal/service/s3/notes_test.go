package s3_test

import (
	"testing"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/service/s3"
)

func TestNotesAreOfServedOperations(t *testing.T) {
	served := map[string]bool{}
	for _, op := range shape.Service().Operations {
		served[op.Name] = true
	}
	for op, note := range s3.Notes() {
		if !served[op] || note == "" {
			t.Errorf("note %q of %s, served: %v", note, op, served[op])
		}
	}
}
