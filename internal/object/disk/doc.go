// Package disk keeps objects on a local file system: an ordered index in Pebble and data files.
//
// One goroutine, the committer, runs the waiting changes one after the other, each seeing those before it, and
// commits them together with one synced write (a group commit). So preconditions are plain checks inside a
// change. Readers look at the snapshot of the last durable commit: nothing is ever seen that a power loss could
// take back.
//
// Bodies up to InlineMax bytes are in the same commit as their index entry, under their own key, so that a
// listing does not pass over them. Larger ones are streamed into a file of their own, which is synced, and its
// folder too, before the commit that names it. A name is never used twice (see ids.go), so nothing is renamed
// and nothing is overwritten. The parts of a multipart upload are such files, and completing it makes an object
// of their list.
//
// What no commit names any more is garbage: unlinked at once when nobody reads it, else when the last reader
// closes it, and in the worst case by the collector, which finds files that the index does not know.
//
// The index holds the latest versions in one table, and older versions and delete markers in another beside it,
// so that plain listings and reads stay plain.
package disk
