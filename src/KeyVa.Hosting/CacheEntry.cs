using System.Buffers;
using System.Buffers.Binary;

namespace KeyVa.Hosting;

/// <summary>
/// A value of the cache as it stands in the store (docs/format.md, Cache entries):
/// <code>
///   format    1 byte  1
///   absolute  8 bytes Unix milliseconds at which it ends in any case, little-endian; 0: never
///   sliding   8 bytes milliseconds that it lives on after each use, little-endian; 0: uses do not count
///   value
/// </code>
/// The key's own expiry is the earlier of both; a use writes the key again with a later one.
/// </summary>
internal readonly record struct CacheEntry(long AbsoluteUnixMilliseconds, long SlidingMilliseconds)
{
    public const int HeaderBytes = 17;
    private const byte Format = 1;

    /// <summary>When it ends if it is used now and never again; default: never.</summary>
    public Expiry ExpiryAt(long now)
    {
        if (SlidingMilliseconds == 0)
        {
            return AbsoluteUnixMilliseconds == 0 ? default : Expiry.AtUnixMilliseconds(AbsoluteUnixMilliseconds);
        }

        bool endsBefore = AbsoluteUnixMilliseconds != 0 && AbsoluteUnixMilliseconds - now < SlidingMilliseconds;
        return endsBefore ? Expiry.AtUnixMilliseconds(AbsoluteUnixMilliseconds) : Expiry.InMilliseconds(SlidingMilliseconds);
    }

    /// <summary>The bytes to store.</summary>
    public byte[] Encode(in ReadOnlySequence<byte> value)
    {
        byte[] bytes = new byte[HeaderBytes + checked((int)value.Length)];
        bytes[0] = Format;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(1), AbsoluteUnixMilliseconds);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(9), SlidingMilliseconds);
        value.CopyTo(bytes.AsSpan(HeaderBytes));
        return bytes;
    }

    /// <summary>Reads what was stored; false: it is none of the cache's.</summary>
    public static bool TryDecode(ReadOnlyMemory<byte> bytes, out CacheEntry entry, out ReadOnlyMemory<byte> value)
    {
        entry = default;
        value = default;
        if (bytes.Length < HeaderBytes || bytes.Span[0] != Format)
        {
            return false;
        }

        entry = new CacheEntry(BinaryPrimitives.ReadInt64LittleEndian(bytes.Span[1..]), BinaryPrimitives.ReadInt64LittleEndian(bytes.Span[9..]));
        value = bytes[HeaderBytes..];
        return entry is { AbsoluteUnixMilliseconds: >= 0, SlidingMilliseconds: >= 0 };
    }
}
