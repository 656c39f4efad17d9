package store

import (
	"encoding/json"
	"fmt"
)

// upgraded is for a table whose records had other fields before: f makes one of today's of what an older version wrote.
func upgraded[T any](t *Table[T], f func(version int, data []byte) ([]byte, error)) *Table[T] {
	t.upgrade = f
	return t
}

// widened is for a table whose records got fields that a process which does not know them must not drop: it reads older
// records as they are.
func widened[T any](t *Table[T]) *Table[T] {
	return upgraded(t, func(_ int, data []byte) ([]byte, error) { return data, nil })
}

// severalVolumes reads import tasks of the time when one became a volume at most.
func severalVolumes(_ int, data []byte) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	one, ok := members["volume"]
	if !ok {
		return data, nil
	}
	delete(members, "volume")
	members["volumes"] = fmt.Appendf(nil, "[%s]", one)
	return json.Marshal(members)
}
