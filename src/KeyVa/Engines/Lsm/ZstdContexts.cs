using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Decompression contexts of Zstandard for whoever reads a block, reused since making one costs more than a block does.
/// Thread-safe, without locks: a slot holds an idle context or nothing. At most <see cref="MaxIdle"/> are kept (some
/// 160 KB each); readers beyond that make their own and free it.
/// </summary>
internal static class ZstdContexts
{
    public const int MaxIdle = 16;

    private static readonly nint[] Idle = new nint[MaxIdle];

    public static nint Take()
    {
        for (int i = 0; i < MaxIdle; i++)
        {
            if (Volatile.Read(ref Idle[i]) != 0)
            {
                nint taken = Interlocked.Exchange(ref Idle[i], 0);
                if (taken != 0)
                {
                    return taken;
                }
            }
        }

        nint made = Zstd.CreateDecompressor();
        return made != 0 ? made : throw new InsufficientMemoryException("no memory for a decompression context");
    }

    public static void Return(nint context)
    {
        for (int i = 0; i < MaxIdle; i++)
        {
            if (Volatile.Read(ref Idle[i]) == 0 && Interlocked.CompareExchange(ref Idle[i], context, 0) == 0)
            {
                return;
            }
        }

        Zstd.FreeDecompressor(context);
    }
}
