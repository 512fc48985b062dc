namespace KeyVa;
internal static class StoreVerification { public static IReadOnlyList<CorruptionException> Run(string path, StoreEnvironment e, Action<string>? note, CancellationToken c) => throw new NotSupportedException(path + e + note + c); }
