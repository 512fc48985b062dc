using System.Text;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Io;

/// <summary>The checksum, by published values and against the definition, bit by bit.</summary>
public sealed class Crc32CTests
{
    // RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
    [Theory]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000", 0x8A9136AAu)]
    [InlineData("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", 0x62A8AB43u)]
    [InlineData("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", 0x46DD794Eu)]
    public void PublishedValues(string bytes, uint expected) => Assert.Equal(expected, Crc32C.Compute(Convert.FromHexString(bytes)));

    [Fact]
    public void TheCheckValue() => Assert.Equal(0xE3069283u, Crc32C.Compute(Encoding.ASCII.GetBytes("123456789")));

    [Fact]
    public void EveryLengthAndPlaceIsAsDefined()
    {
        byte[] data = new byte[8 << 10];
        new Random(5).NextBytes(data);

        // Around every length at which another way is taken, and some beyond.
        int[] edges = [0, 8, 128, 384, 512, 768, 1024, 1152, 3072, 3456, 4096, 6144, 6528, 8000];
        foreach (int length in edges.SelectMany(edge => Enumerable.Range(Math.Max(0, edge - 9), 19)))
        {
            ReadOnlySpan<byte> part = data.AsSpan(length % 7, length);
            uint expected = ByDefinition(part);
            Assert.Equal(expected, Crc32C.Compute(part));
            Assert.Equal(expected, Crc32C.Extend(Crc32C.Compute(part[..(length / 3)]), part[(length / 3)..]));
        }
    }

    private static uint ByDefinition(ReadOnlySpan<byte> data)
    {
        const uint reversedPolynomial = 0x82F63B78;
        uint state = ~0u;
        foreach (byte value in data)
        {
            state ^= value;
            for (int bit = 0; bit < 8; bit++)
            {
                state = (state >> 1) ^ ((state & 1) * reversedPolynomial);
            }
        }

        return ~state;
    }
}
