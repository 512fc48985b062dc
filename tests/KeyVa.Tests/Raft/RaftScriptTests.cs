using KeyVa.Tests.House;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>
/// Scripts with what they must bring, message by message: the texts in Scripts/. <c>KEYVA_REWRITE=1</c> writes them anew, to be read.
/// </summary>
public sealed class RaftScriptTests
{
    private const string Folder = "tests/KeyVa.Tests/Raft/Scripts";

    public static TheoryData<string> Names { get; } =
        new(Repository.Files(Folder).Select(static path => System.IO.Path.GetFileNameWithoutExtension(path)));

    [Theory]
    [MemberData(nameof(Names))]
    public void BringsWhatIsWrittenDown(string name)
    {
        string path = System.IO.Path.Combine(Repository.Root, Folder, name + ".txt");
        string script = System.IO.File.ReadAllText(path);
        string transcript = RaftScript.Run(script);
        if (System.Environment.GetEnvironmentVariable("KEYVA_REWRITE") is { Length: > 0 })
        {
            System.IO.File.WriteAllText(path, transcript);
        }

        Assert.Equal(transcript, System.IO.File.ReadAllText(path));
    }
}
