namespace KeyVa.Engines.Lsm;
internal static class LsmEngine { public static Engine Open(EngineContext context) => throw new NotSupportedException(context.Directory); }
