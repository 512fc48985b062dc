using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace KeyVa.Bench.Targets;

/// <summary>
/// The base library's ConcurrentDictionary over byte arrays, looked up by span, with a hash as cheap as a careful user
/// would write it. A put copies the value (and a new key) into arrays of the dictionary's own, as any store has to.
/// </summary>
internal sealed class DictionaryTarget : Target<DictionaryTarget.Session>
{
    private ConcurrentDictionary<byte[], byte[]>? _map;

    public override string Name => "dictionary";

    public override string Settings =>
        "ConcurrentDictionary<byte[], byte[]> through GetAlternateLookup<ReadOnlySpan<byte>>, multiply-fold hash, default capacity, nothing durable";

    public override string? Refuses(Work work) => work switch
    {
        Work.ScanForward or Work.ScanReverse or Work.SeekRandom => "a dictionary has no order",
        Work.PutSync => "a dictionary is not durable",
        _ => null,
    };

    public override void Open(string directory, Durability durability) => _map = new(SpanComparer.Instance);

    public override void Close()
    {
        _map = null;
        GC.Collect();
    }

    protected override Session NewSession() => new(_map!.GetAlternateLookup<ReadOnlySpan<byte>>());

    internal readonly struct Session(ConcurrentDictionary<byte[], byte[]>.AlternateLookup<ReadOnlySpan<byte>> map) : ISession
    {
        public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value) => map[key] = value.ToArray();

        public bool Get(ReadOnlySpan<byte> key, ref ulong touched)
        {
            if (!map.TryGetValue(key, out byte[]? value))
            {
                return false;
            }

            touched += (ulong)value.Length + value[^1];
            return true;
        }

        public bool Read(ReadOnlySpan<byte> key, Span<byte> value)
        {
            if (!map.TryGetValue(key, out byte[]? found))
            {
                return false;
            }

            found.CopyTo(value);
            return true;
        }

        public void Delete(ReadOnlySpan<byte> key) => map.TryRemove(key, out _);

        public long Scan(ReadOnlyMemory<byte> from, bool reverse, long limit, ref ulong touched) =>
            throw new NotSupportedException();

        public void Dispose()
        {
        }
    }

    private sealed class SpanComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
    {
        private const ulong Factor = 0x9E3779B97F4A7C15;

        public static SpanComparer Instance { get; } = new();

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode([DisallowNull] byte[] obj) => GetHashCode(obj.AsSpan());

        public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();

        public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

        public int GetHashCode(ReadOnlySpan<byte> alternate)
        {
            ulong hash = (ulong)alternate.Length;
            while (alternate.Length >= sizeof(ulong))
            {
                hash = Fold(hash ^ MemoryMarshal.Read<ulong>(alternate));
                alternate = alternate[sizeof(ulong)..];
            }

            foreach (byte b in alternate)
            {
                hash = Fold(hash ^ b);
            }

            return (int)(hash ^ (hash >> 32));
        }

        private static ulong Fold(ulong value)
        {
            ulong high = Math.BigMul(value, Factor, out ulong low);
            return high ^ low;
        }
    }
}
