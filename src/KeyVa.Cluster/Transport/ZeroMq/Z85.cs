namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// Z85, bytes as printable text (ZeroMQ RFC 32): four bytes are five characters, most significant first. Of our own, so that a key can be
/// checked where it is configured, whether or not libzmq is there. Stateless.
/// </summary>
internal static class Z85
{
    private const string Alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

    /// <summary>The bytes of a text; false if it is not Z85 of exactly so many bytes.</summary>
    public static bool TryDecode(ReadOnlySpan<char> text, Span<byte> bytes)
    {
        if (text.Length != bytes.Length / 4 * 5 || bytes.Length % 4 != 0)
        {
            return false;
        }

        for (int i = 0; i < text.Length / 5; i++)
        {
            ulong value = 0;
            foreach (char c in text.Slice(i * 5, 5))
            {
                int digit = Alphabet.IndexOf(c, StringComparison.Ordinal);
                if (digit < 0)
                {
                    return false;
                }

                value = (value * 85) + (uint)digit;
            }

            if (value > uint.MaxValue)
            {
                return false;
            }

            System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(bytes[(i * 4)..], (uint)value);
        }

        return true;
    }

    public static string Encode(ReadOnlySpan<byte> bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(bytes.Length % 4, 0);
        char[] text = new char[bytes.Length / 4 * 5];
        for (int i = 0; i < bytes.Length / 4; i++)
        {
            uint value = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes[(i * 4)..]);
            for (int digit = 4; digit >= 0; digit--)
            {
                text[(i * 5) + digit] = Alphabet[(int)(value % 85)];
                value /= 85;
            }
        }

        return new string(text);
    }
}
