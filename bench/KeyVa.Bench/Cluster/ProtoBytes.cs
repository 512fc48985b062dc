using System.Globalization;

namespace KeyVa.Bench.Cluster;

/// <summary>
/// The few fields of Protocol Buffers that two servers are asked with, written and read by number, so that the harness treats both alike and needs nobody's
/// generated messages. Stateless.
/// </summary>
internal static class ProtoBytes
{
    private const int Varint = 0;
    private const int Bytes = 2;

    /// <summary>A field of bytes.</summary>
    public static byte[] Field(int number, ReadOnlySpan<byte> value)
    {
        List<byte> field = [(byte)((number << 3) | Bytes)];
        for (uint length = (uint)value.Length; ; length >>= 7)
        {
            if (length < 128)
            {
                field.Add((byte)length);
                break;
            }

            field.Add((byte)(length | 128));
        }

        field.AddRange(value);
        return [.. field];
    }

    /// <summary>A field of a number below 128.</summary>
    public static byte[] Field(int number, byte value) => value < 128
        ? [(byte)((number << 3) | Varint), value]
        : throw new ArgumentOutOfRangeException(nameof(value), value, "one byte holds no more than 127");

    /// <summary>The number at a path of field numbers, the first of each; 0 if it is not there.</summary>
    public static ulong NumberAt(ReadOnlySpan<byte> message, params ReadOnlySpan<int> path)
    {
        while (!message.IsEmpty)
        {
            ulong tag = ReadVarint(ref message);
            bool isWanted = (int)(tag >> 3) == path[0];
            switch ((int)(tag & 7))
            {
                case Varint:
                    ulong number = ReadVarint(ref message);
                    if (isWanted && path.Length == 1)
                    {
                        return number;
                    }

                    break;
                case Bytes:
                    int length = (int)ReadVarint(ref message);
                    if (isWanted && path.Length > 1)
                    {
                        return NumberAt(message[..length], path[1..]);
                    }

                    message = message[length..];
                    break;
                default:
                    throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"a field of wire type {tag & 7} is not expected here"));
            }
        }

        return 0;
    }

    private static ulong ReadVarint(ref ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = bytes[0];
            bytes = bytes[1..];
            value |= (ulong)(next & 127) << shift;
            if (next < 128)
            {
                return value;
            }
        }
    }
}
