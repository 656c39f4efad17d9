// Package store keeps Karri's desired state: typed tables in etcd, mirrored in memory with indexes.
//
// Reads are memory reads on a Snapshot: consistent, immutable, and never older than the process's own last
// write. Writes are functions run by Update. One writer per process runs the waiting functions one after
// the other, each seeing those before it, and commits them together as ONE etcd transaction (a group
// commit). The transaction is guarded by the revision of a single key, the head, which every commit also
// writes: so commits of all processes form one line, and every function has seen everything before it.
// Uniqueness, quotas and "no children left" are therefore plain checks inside the function: there are no
// locks to take and no read sets to declare. A process that lost the race catches up and runs its
// functions again; a function must have no effects but its writes.
package store
