using System.Text;
using KeyVa.Cli;
using KeyVa.Tests.Client;

namespace KeyVa.Tests.Cli;

/// <summary>Carries out commands in this process against a server.</summary>
internal static class CommandLine
{
    public static Task<(int Code, string Output, string Error)> RunAsync(TestServer server, string input, string[] arguments) =>
        RunAsync(server.Data, server.Control, input, arguments);

    public static async Task<(int Code, string Output, string Error)> RunAsync(string data, string control, string input, string[] arguments)
    {
        using MemoryStream output = new();
        using StringWriter error = new() { NewLine = "\n" };
        using Terminal terminal = new(new MemoryStream(Encoding.UTF8.GetBytes(input)), output, error);
        using Interrupts interrupts = new(listen: false);
        await using Session session = new(terminal, interrupts);
        int code = await CommandRunner.RunAsync(session, [.. arguments, "--server", data, "--control", control], CancellationToken.None);
        return (code, Encoding.UTF8.GetString(output.ToArray()), error.ToString());
    }
}
