using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace KeyVa.Bench;

/// <summary>SplitMix64 (Steele, Lea, Flood 2014): small, fast and the same on every run. One thread at a time.</summary>
internal struct Prng(ulong seed)
{
    private ulong _state = seed;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Next() => Mix(_state += 0x9E3779B97F4A7C15);

    /// <summary>A number from 0 to below 1 with 53 random bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public double NextDouble() => (Next() >> 11) * (1.0 / (1UL << 53));

    /// <summary>Another number for every number, and no order left among them (a bijection).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    /// <summary>A number below <paramref name="bound"/>, by multiplication instead of division (Lemire 2019).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Below(uint bound) => (uint)(((Next() >> 32) * bound) >> 32);
}

/// <summary>
/// Keys as db_bench makes them: the record's number, big-endian, then '0' up to the key's length. The order of the
/// numbers is the order of the keys. A missing key lies between two that are there, so no range check can reject it.
/// </summary>
internal static class Keys
{
    private const byte Filler = (byte)'0';

    public static byte[] NewBuffer(int keyBytes)
    {
        byte[] key = GC.AllocateUninitializedArray<byte>(keyBytes, pinned: true);
        Array.Fill(key, Filler);
        return key;
    }

    /// <summary>A buffer whose keys nobody writes: the filler ends differently.</summary>
    public static byte[] NewMissingBuffer(int keyBytes)
    {
        byte[] key = NewBuffer(keyBytes);
        key[^1] = Filler + 1;
        return key;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(byte[] key, ulong number) => BinaryPrimitives.WriteUInt64BigEndian(key, number);

    /// <summary>The key number of the Nth new record: distinct for distinct N, in random order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Mixed(ulong number) => Prng.Mix(number + 0x9E3779B97F4A7C15);

    /// <summary>The numbers 0 to <paramref name="records"/> - 1 in an order that the seed decides (Fisher and Yates).</summary>
    public static uint[] Shuffled(long records, ulong seed)
    {
        uint[] numbers = GC.AllocateUninitializedArray<uint>(checked((int)records));
        for (int i = 0; i < numbers.Length; i++)
        {
            numbers[i] = (uint)i;
        }

        Prng random = new(seed);
        for (int i = numbers.Length - 1; i > 0; i--)
        {
            int j = (int)random.Below((uint)i + 1);
            (numbers[i], numbers[j]) = (numbers[j], numbers[i]);
        }

        return numbers;
    }
}

/// <summary>
/// Values as db_bench makes them: slices of one pool whose pieces of 100 bytes compress to about half. The pool is
/// immutable and shared; the position is each thread's own.
/// </summary>
internal struct Values
{
    private const int PieceBytes = 100;
    private const int PoolBytes = 1 << 20;

    private readonly byte[] _pool;
    private readonly int _length;
    private int _position;

    public Values(byte[] pool, int valueBytes, int start)
    {
        _pool = pool;
        _length = valueBytes;
        _position = start % PoolBytes;
    }

    public static byte[] NewPool(int valueBytes, ulong seed)
    {
        byte[] pool = GC.AllocateUninitializedArray<byte>(PoolBytes + valueBytes, pinned: true);
        Prng random = new(seed);
        for (int piece = 0; piece < pool.Length; piece += PieceBytes)
        {
            for (int i = 0; i < PieceBytes && piece + i < pool.Length; i++)
            {
                pool[piece + i] = i < PieceBytes / 2 ? (byte)(' ' + random.Below(95)) : pool[piece + i - (PieceBytes / 2)];
            }
        }

        return pool;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ReadOnlySpan<byte> Next()
    {
        ReadOnlySpan<byte> value = _pool.AsSpan(_position, _length);
        _position += _length;
        if (_position >= PoolBytes)
        {
            _position -= PoolBytes;
        }

        return value;
    }
}
