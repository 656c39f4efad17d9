package disk

import (
	"encoding/binary"
	"hash/crc32"
)

// A data file is a row of blocks; each is up to blockData bytes, which may be encrypted, and then their checksum, which
// can be checked without any key. Only the last one may
// be shorter. Nothing else is in a file: its size follows from the object's.
const (
	blockSize   = 64 << 10 // on disk
	blockSum    = 4
	blockData   = blockSize - blockSum // with what encryption adds
	runBlocks   = 4                    // blocks read or written in one call
	bufferBytes = runBlocks * blockSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // read only

// blockCRC covers a block's bytes and its place, so that a block of another file, or of another place in this
// one, is as wrong as a changed one.
func blockCRC(data []byte, file uint64, index int64) uint32 {
	var place [16]byte
	binary.BigEndian.PutUint64(place[:8], file)
	binary.BigEndian.PutUint64(place[8:], uint64(index))
	return crc32.Update(crc32.Checksum(data, castagnoli), castagnoli, place[:])
}

// sealBlock puts the checksum behind a block's n bytes and gives the block.
func sealBlock(block []byte, n int, file uint64, index int64) []byte {
	binary.BigEndian.PutUint32(block[n:], blockCRC(block[:n], file, index))
	return block[:n+blockSum]
}

// openBlock gives a block's bytes, or false if they are not what was written there.
func openBlock(block []byte, file uint64, index int64) ([]byte, bool) {
	n := len(block) - blockSum
	if n < 0 || binary.BigEndian.Uint32(block[n:]) != blockCRC(block[:n], file, index) {
		return nil, false
	}
	return block[:n], true
}
