package postgres

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// array is a parameter of one column of a batch in PostgreSQL's binary form. Batches are written many times a second with a dozen
// columns each; encoding them straight into a buffer that is used again spares the allocations and the reflection of the general path.
type array struct {
	buf   []byte
	count int
	nulls bool
	oid   uint32
}

const arrayHeader = 20

// microsecondsTo2000 is PostgreSQL's epoch, 2000-01-01, in Unix microseconds.
const microsecondsTo2000 = 946684800_000000

func (a *array) reset(oid uint32) {
	if cap(a.buf) < arrayHeader {
		a.buf = make([]byte, 0, 4096)
	}
	a.buf, a.count, a.nulls, a.oid = a.buf[:arrayHeader], 0, false, oid
}

// bytes finishes the array. It is valid until the next reset.
func (a *array) bytes() []byte {
	if a.count == 0 {
		clear(a.buf[:arrayHeader])
		binary.BigEndian.PutUint32(a.buf[8:], a.oid)
		return a.buf[:12] // an empty array has no dimensions
	}
	binary.BigEndian.PutUint32(a.buf, 1)
	binary.BigEndian.PutUint32(a.buf[4:], 0)
	if a.nulls {
		binary.BigEndian.PutUint32(a.buf[4:], 1)
	}
	binary.BigEndian.PutUint32(a.buf[8:], a.oid)
	binary.BigEndian.PutUint32(a.buf[12:], uint32(a.count))
	binary.BigEndian.PutUint32(a.buf[16:], 1)
	return a.buf
}

func (a *array) null() {
	a.count++
	a.nulls = true
	a.buf = binary.BigEndian.AppendUint32(a.buf, 0xffffffff)
}

func (a *array) raw(b []byte) {
	a.count++
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(len(b)))
	a.buf = append(a.buf, b...)
}

func (a *array) text(s string) {
	a.count++
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(len(s)))
	a.buf = append(a.buf, s...)
}

func (a *array) uuid(id [16]byte) {
	a.count++
	a.buf = binary.BigEndian.AppendUint32(a.buf, 16)
	a.buf = append(a.buf, id[:]...)
}

func (a *array) int2(n int16) {
	a.count++
	a.buf = binary.BigEndian.AppendUint32(a.buf, 2)
	a.buf = binary.BigEndian.AppendUint16(a.buf, uint16(n))
}

func (a *array) int4(n int32) {
	a.count++
	a.buf = binary.BigEndian.AppendUint32(a.buf, 4)
	a.buf = binary.BigEndian.AppendUint32(a.buf, uint32(n))
}

func (a *array) int8(n int64) {
	a.count++
	a.buf = binary.BigEndian.AppendUint32(a.buf, 8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(n))
}

// time appends t, or NULL for the zero time.
func (a *array) time(t time.Time) {
	if t.IsZero() {
		a.null()
		return
	}
	a.int8(t.UnixMicro() - microsecondsTo2000)
}

// columns are the parameters of one statement.
type columns struct {
	arrays  []array
	oids    []uint32
	values  [][]byte
	scalars [][]byte
}

// newColumns returns parameters that are arrays of these element types, behind the given number of scalars.
func newColumns(scalars int, elements ...uint32) *columns {
	c := &columns{
		arrays:  make([]array, len(elements)),
		oids:    elements,
		values:  make([][]byte, scalars+len(elements)),
		scalars: make([][]byte, scalars),
	}
	c.reset()
	return c
}

func (c *columns) reset() {
	for i := range c.arrays {
		c.arrays[i].reset(c.oids[i])
	}
}

// params returns all parameters: the scalars as they were set, then the arrays.
func (c *columns) params() [][]byte {
	copy(c.values, c.scalars)
	for i := range c.arrays {
		c.values[len(c.scalars)+i] = c.arrays[i].bytes()
	}
	return c.values
}

// release gives a buffer back that a large batch has grown.
func (c *columns) release() {
	const keep = 1 << 20
	for i := range c.arrays {
		if cap(c.arrays[i].buf) > keep {
			c.arrays[i].buf = nil
		}
	}
}

// The element types of columns.
const (
	oidText = pgtype.TextOID
	oidUUID = pgtype.UUIDOID
	oidInt2 = pgtype.Int2OID
	oidInt4 = pgtype.Int4OID
	oidInt8 = pgtype.Int8OID
	oidTime = pgtype.TimestamptzOID
	oidByte = pgtype.ByteaOID
)

func int32At(b []byte) int32 { return int32(binary.BigEndian.Uint32(b)) }
