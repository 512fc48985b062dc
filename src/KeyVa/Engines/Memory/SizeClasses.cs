namespace KeyVa.Engines.Memory;

/// <summary>
/// The sizes that slabs are cut into: steps of 16 bytes up to 256, then eight steps per doubling, so that at most an
/// eighth (above 256 bytes) or 15 bytes of an object are wasted. One class fits a segment of the index exactly.
/// </summary>
internal static class SizeClasses
{
    public const int Largest = 8192;
    private const int Granule = 16;

    public static readonly int[] Bytes = Build();
    private static readonly byte[] ByGranules = BuildLookup();

    public static int Of(int bytes) => ByGranules[(bytes + Granule - 1) / Granule];

    private static int[] Build()
    {
        List<int> sizes = [];
        for (int size = 32; size <= 256; size += Granule)
        {
            sizes.Add(size);
        }

        for (int doubling = 256; doubling < Largest; doubling *= 2)
        {
            for (int step = 1; step <= 8; step++)
            {
                sizes.Add(doubling + (doubling / 8 * step));
            }
        }

        sizes.Add(Segment.Bytes);
        sizes.Sort();
        return [.. sizes];
    }

    private static byte[] BuildLookup()
    {
        byte[] lookup = new byte[(Largest / Granule) + 1];
        int sizeClass = 0;
        for (int granules = 0; granules < lookup.Length; granules++)
        {
            while (Bytes[sizeClass] < granules * Granule)
            {
                sizeClass++;
            }

            lookup[granules] = (byte)sizeClass;
        }

        return lookup;
    }
}
