using System.Globalization;
using System.Text;

namespace KeyVa.Bench.Front;

/// <summary>The records that both front ends are asked for. Keys are text, since they travel in a path.</summary>
internal static class FrontRecords
{
    public const int Count = 100_000;

    /// <summary>Keys a client goes through, spread over all of them.</summary>
    public const int Asked = 1000;

    public const int ValueBytes = 100;

    /// <summary>
    /// Bytes of the message that answers a get: key (18), found (2), value (102), version (4), time (7), and the tag and
    /// length of the record (3). The bare endpoint answers as many.
    /// </summary>
    public const int GrpcMessageBytes = 136;

    public static string KeyText(int number) => string.Create(CultureInfo.InvariantCulture, $"k{number:D15}");

    public static byte[] Key(int number) => Encoding.ASCII.GetBytes(KeyText(number));

    public static byte[] Value { get; } = Values.NewPool(ValueBytes, seed: 301)[..ValueBytes];
}
